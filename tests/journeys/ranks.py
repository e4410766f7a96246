"""A training of several ranks: rank 1 dies once after step 6, and all go on from the last checkpoint."""

import argparse
import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import larder

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--die", default="")
args = parser.parse_args()
distributed.init_process_group("gloo")
rank, world = distributed.get_rank(), distributed.get_world_size()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
run = larder.init(resume=True)
if run.checkpoint is not None:
    state = run.checkpoint.load()
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
print(f"rank {rank} of {world} begins at step {run.step}\n", end="", flush=True)
for step in range(run.step, 12):
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1000 * step + rank))
    loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total = loss.detach().clone()
    distributed.all_reduce(total)
    run.log({"train/loss": float(total) / world}, step=step)
    if rank == 0 and step % 4 == 3:
        run.log_checkpoint({"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}, step=step)
    if args.die and rank == 1 and step == 6 and not os.path.exists(args.die):
        open(args.die, "w").close()
        os._exit(9)
distributed.destroy_process_group()
