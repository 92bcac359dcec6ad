"""Full ranking in bounded memory, metrics, intervals and verdicts, controls that train nothing."""
