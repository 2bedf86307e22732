"""One model made from another: converted, grown, pruned."""
