"""What is looked at after a run: one page per run, runs side by side. Reads run directories, writes HTML."""
