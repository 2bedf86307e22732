"""People, monsters, robots and plants drawn from named parts."""
