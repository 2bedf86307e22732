"""Banks put together: parts made and kept, merged, credited; the tiny bank cut from the full one."""
