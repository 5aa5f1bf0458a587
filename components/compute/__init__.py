"""Behind the page: the engine, the GPU on loan, and what is under way for whom."""
