"""Analysis of one slide in memory: request, survey, blocks, merged nuclei and summary."""
