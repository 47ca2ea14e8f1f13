"""Tables and sentences that several commands print. Plain functions of finished results; they print nothing themselves."""
