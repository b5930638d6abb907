"""``python -m cxrlib fit --config configs/workshop.yaml``: see ``cxrlib.configs``."""

from cxrlib.configs import main

if __name__ == "__main__":
    main()
