"""Python work: functions, cells and maps as jobs; futures; warm workers; results that are not computed twice."""
