"""`summary.json`: the machine's view of a run. Its keys are a promise; shares and rates are fractions (0.10 is 10 %)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from caig_rl.runs.result import GuardSummary, ResultSummary
from caig_rl.runs.summary_part import Amount, Count, Part, Share
from caig_rl.statistics import Interval, lift

if TYPE_CHECKING:
    from caig_rl.runs.folder import RunFolder


class ProductCounts(Part):
    """How the admissions ended. Raises where the outcomes do not add up to `admitted`."""

    admitted: Count
    """Admissions that ended; one is a product in a round."""
    trained: Count
    failed: dict[str, Count]
    """By kind."""
    expired: Count
    tied: Count
    rejected: dict[str, Count]
    """Catalog rows that never became a product, by reason; beside the admissions."""
    in_flight: Count = 0
    """Admissions that have no outcome yet; 0 when a run is done."""

    @model_validator(mode="after")
    def _every_admission_has_one_outcome(self) -> ProductCounts:
        outcomes = self.trained + sum(self.failed.values()) + self.expired + self.tied
        if outcomes != self.admitted:
            raise ValueError(f"products.admitted is {self.admitted}, but the outcomes add up to {outcomes}")
        return self


class CreativeCounts(Part):
    """What the renderer painted, and what the usability gate said of it."""

    painted: Count = 0
    refused: dict[str, Count] = Field(default_factory=dict)
    """By reason: "product_changed", "product_extended", "blank". A refused creative is never scored."""
    product_difference: Count | None = None
    """Largest difference (grey levels) of any creative from its product inside the eroded mask: 0 where every product was kept.
    Null where nothing was painted."""

    def plus(self, other: CreativeCounts) -> CreativeCounts:
        """Both together."""
        differences = self.product_difference, other.product_difference
        return CreativeCounts(
            painted=self.painted + other.painted,
            refused=dict(Counter(self.refused) + Counter(other.refused)),
            product_difference=max((one for one in differences if one is not None), default=None),
        )


class CtrSummary(Part):
    """True click-through rates of the held-out products, before and after; `lift` is final / initial - 1."""

    initial: Annotated[float, Field(gt=0.0, le=1.0)]
    final: Share
    lift: float
    ci95: tuple[float, float] | None
    """95 % bootstrap interval of the lift over products; null with fewer than two products."""
    ceiling: Share | None = None
    """True CTR of the best prompt for each product; null where it is not known."""

    @model_validator(mode="after")
    def _lift_is_that_of_the_rates(self) -> CtrSummary:
        if abs(self.lift - lift(self.initial, self.final)) > 1e-9:
            raise ValueError(f"ctr.lift is {self.lift}, but final / initial - 1 is {lift(self.initial, self.final)}")
        if self.ci95 is not None and self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ctr.ci95 must be (low, high), not {self.ci95}")
        return self

    @property
    def interval(self) -> Interval | None:
        """`ci95` as an interval."""
        return None if self.ci95 is None else Interval(*self.ci95)


class RelevanceSummary(Part):
    """Mean relevance of the background to the product, 0-1, by a judge apart from the clicks."""

    initial: Share
    final: Share


class RewardSummary(Part):
    """How well the reward model orders held-out creatives by CTR; null where no clicks are known."""

    heldout_accuracy: Share | None
    ceiling: Share | None
    """Accuracy of the true CTRs' order on the same, noisy pairs."""
    measured_here: bool = False
    """By the true CTRs of this run's own measurement, whose products the reward model may have been trained on."""
    kind: str = "model"
    """`reward.kind`: "random" in the control experiment, "world" where the true CTR was the reward."""


class PolicySummary(Part):
    """How far the policy moved, and whether it still varies."""

    kl: float | None
    """Estimated KL(policy || initial policy) in nats an answer; an estimate from samples can be slightly below 0. At the end of a run that
    of its result, on the answers of the final measurement; before, that of the policy that wrote the last round's answers, on those that
    were painted."""
    kl_ci95: tuple[float, float] | None = None
    """95 % t-interval of the result's over products; null before it is measured, and with fewer than two products."""
    distinct_prompts: Share | None
    sha256: str | None = None
    """Hash of the weights of `policy_version`: two runs that end with the same bits have the same hash."""


class PromptHealth(Part):
    """What one policy's prompts on the evaluation's products are like."""

    malformed: Share
    """By the judge where it knows what a well-formed prompt is, else as plain language: empty, cut off, repeated and the like."""
    trap: Share | None
    """Prompts that ask for a showy background that suits no product; null where nobody knows what that is."""
    distinct: Share
    """Distinct prompts over all prompts."""
    commonest_background: Share
    """Prompts that ask for the background asked for most often, however worded."""
    attribute_entropy: Amount
    """Bits: how much the phrases vary, mean over the places that a prompt has. Without a judge that knows them, over all parts together."""


class PromptsSummary(Part):
    """The prompts of the initial and the final policy."""

    initial: PromptHealth
    final: PromptHealth


class MeasuredGroup(Part):
    """What was measured on some of the evaluation's products."""

    products: Annotated[int, Field(ge=1)]
    ctr: CtrSummary | None
    relevance: RelevanceSummary | None


class CategoriesSummary(Part):
    """The evaluation's products by whether their category was trained on; null where none of the products measured is of the kind."""

    seen: MeasuredGroup | None
    unseen: MeasuredGroup | None


class SegmentSummary(Part):
    """What one segment's shoppers click, of the creatives that were made for them."""

    segment: str
    share: Share
    """Of all shoppers."""
    ctr: CtrSummary


class ThroughputSummary(Part):
    """Rates over the whole run, per second of wall time."""

    pairs_per_s: Amount
    images_per_s: Amount
    tokens_per_s: Amount


class StageTimes(Part):
    """Seconds that the run waited on each stage."""

    policy: Amount
    render: Amount
    score: Amount
    learn: Amount
    sync: Amount
    idle: Amount


class TimeSummary(Part):
    """Where the time went."""

    total_s: Amount
    stages: StageTimes


class SyncSummary(Part):
    """Weight syncs, and how many of them were verified by hash and canary."""

    count: Count
    verified: Count


class EvaluationSummary(Part):
    """What the CTR and the relevance were measured on."""

    products: Count
    """Compared: measured for both policies."""
    left_out: Count = 0
    """Held-out products that could not be measured for one of the policies, and so count for neither."""
    prompts_per_product: Count
    held_out: bool
    """True where none of the products was trained on."""
    products_held_out: Count | None = None
    """All that were kept from training, measured or not; null in summaries of earlier versions."""


class ScalingStep(Part):
    """One change of a pool's size."""

    at_s: Amount
    """Seconds into the run."""
    pool: str
    before: Count
    after: Count
    reason: str


class Replay(Part):
    """A round that was trained again: its pairs left the lineage of the weights and entered it once more."""

    incarnation: Count
    """In which they count."""
    round: Count
    pairs: Count


class FleetSummary(Part):
    """What happened to the workers."""

    replaced: dict[str, Count]
    """Workers that died or were taken for dead and were replaced, by pool."""
    stuck: dict[str, Count]
    """Of those, workers that held work without progress."""
    scaling: tuple[ScalingStep, ...] = ()
    learner_restarts: Count = 0
    """Times that the learner group was re-formed after a rank was lost."""
    replayed: tuple[Replay, ...] = ()
    """Rounds whose training was rolled back with a lost learner and done again from the journal."""


class SurvivedSummary(Part):
    """What befell the run, over all lives of its driver; each event is in `events.jsonl`."""

    resumes: Count
    """Times that a new driver went on with the run."""
    lost: dict[str, dict[str, Count]]
    """Workers by pool, and the learner's group as "learner"; of each by reason: "died", "hung", "node" (gone with its node), "drained"."""
    replaced: dict[str, Count]
    """Places that were filled again, by pool."""
    regrouped: Count
    """Times that the learner's group was re-formed, the losses while it started among them."""
    rounds_again: Count
    """Rounds that the learner was taught a second time: from the journal after a loss, and after a resume from an older checkpoint."""
    pairs_again: Count
    """Pairs of the first kind."""
    shards_issued_again: dict[str, Count]
    """By the stage in which the issue before ended."""
    poison: Count
    """Products that failed because they cost a worker each time."""


class RoundDetail(Part):
    """One round: also a row of `metrics.jsonl`, which may carry further numbers."""

    model_config = ConfigDict(extra="allow")

    round: Count
    pairs: Count | None = None
    """Pairs trained on."""
    loss: float | None = None
    reward_score: float | None = None
    """Mean score of the round's creatives by the reward model."""
    guard_score: float | None = None
    """Mean score of the same creatives by the guard, products counting alike. Null without a guard."""
    relevance: Share | None = None
    kl: float | None = None
    distinct_prompts: Share | None = None
    malformed_share: Share | None = None
    """Of the round's prompts, painted or not. Null in runs of before prompts were checked."""
    trap_share: Share | None = None
    """Of the same prompts; null where nobody knows what a trap is."""
    creatives: CreativeCounts = CreativeCounts()
    replayed: Count = 0
    """Groups of former rounds that were learned again with this one."""
    fluent_share: Share | None = None
    """Share of the painted prompts that `learner.fluency_floor` lets be learned from."""
    reference_kl: float | None = None
    """KL(policy || reference) where the reference has moved (`learner.reference_every`); null where it is the initial policy."""
    pc_weight: float | None = None
    """Weight of the product-centric term while the round was learned; null where the objective has none."""
    negatives: dict[str, Count] = Field(default_factory=dict)
    """Product-centric negatives of the round's groups, by kind as drawn (`learner.negatives`); nothing where the objective reads none."""
    kl_weight: float | None = None
    """Weight of the divergence from the reference while the round was learned; it grows beyond `learner.kl_bound`."""
    prompt_model: dict[str, float] | None = None
    """The prompt model after the round: creatives it learned from, held-out correlations, trusted (1) or not (0). Null without one."""


class RunSummary(Part):
    """The whole of `summary.json`."""

    run: str
    """Name of the run."""
    status: Literal["running", "done", "stopped", "failed"]
    """"stopped": ended early; `--resume` goes on from its checkpoint. "failed": ended by a fault, which `failure` names."""
    failure: str | None = None
    """What ended a failed run, in one line."""
    objective: str
    catalog: str
    """Where the products came from."""
    simulated: bool
    """True where the clicks come from simulated shoppers."""
    seed: int
    rounds: Count
    """Rounds completed."""
    policy_version: str
    """That of the result, once the final policy was measured; before, the newest that is live."""
    result: ResultSummary | None = None
    """Null until the final policy was measured."""
    guard: GuardSummary | None = None
    """Null without a guard, and until it has scored a round."""
    products: ProductCounts
    creatives: CreativeCounts = CreativeCounts()
    """Of the rounds completed; the evaluation's are not among them. Nothing in runs of before they were counted."""
    negatives: dict[str, Count] = Field(default_factory=dict)
    """Product-centric negatives of the rounds completed, by kind as drawn; nothing where the objective reads none."""
    ctr: CtrSummary | None
    """Null where nobody judges, and until the final policy was measured."""
    relevance: RelevanceSummary | None
    reward: RewardSummary
    policy: PolicySummary
    throughput: ThroughputSummary
    time: TimeSummary
    sync: SyncSummary
    peak_memory_gib: Amount
    evaluation: EvaluationSummary | None = None
    prompts: PromptsSummary | None = None
    """Null until the final policy was measured, and in runs of before prompts were checked."""
    categories: CategoriesSummary | None = None
    """Null where no category was kept from training."""
    segments: tuple[SegmentSummary, ...] = ()
    """Empty where shoppers are not told apart, and until the final policy was measured."""
    fleet: FleetSummary | None = None
    survived: SurvivedSummary | None = None
    """Null in runs of before events were recorded."""
    rounds_detail: tuple[RoundDetail, ...] = ()

    @model_validator(mode="after")
    def _a_finished_run_has_nothing_in_flight(self) -> RunSummary:
        if self.status == "done" and self.products.in_flight:
            raise ValueError(f"the run is done, but {self.products.in_flight} admissions have no outcome")
        if self.sync.verified > self.sync.count:
            raise ValueError(f"{self.sync.verified} syncs verified of {self.sync.count}")
        return self


def write_summary(summary: RunSummary, folder: RunFolder) -> str:
    """Write `summary.json`, whole or not at all; returns its address."""
    return folder.write_text("summary.json", summary.model_dump_json(indent=2) + "\n")


def read_summary(folder: RunFolder) -> RunSummary:
    """Read `summary.json` back. Raises UserError where the folder has none, or one that breaks the promise."""
    try:
        return RunSummary.model_validate_json(folder.read_text("summary.json"))
    except ValidationError as error:
        raise folder.damaged("summary.json", error) from error
