"""The coordinator: asks the sites, averages what they answer, keeps the run's artefacts."""
