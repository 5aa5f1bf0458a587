"""Behind the page: the engine, ZeroGPU, and the running jobs."""
