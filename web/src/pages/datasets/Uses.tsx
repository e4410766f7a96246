// Which runs read and wrote versions; the run page lists with it what a run read and wrote.
import { Link } from "@tanstack/react-router";

import { bytes } from "@/format";
import { useNames } from "@/pages/queues/data";
import { StatusBadge, Time } from "@/ui";

import type { Use } from "./data";
import styles from "./datasets.module.css";

/** Uses by runs: each run once for a version, a role and a part. */
export function UseList({ uses, withVersion = false, withRun = true }: { uses: Use[]; withVersion?: boolean; withRun?: boolean }) {
  const names = useNames(withRun ? uses.map((one) => one.run) : []);
  return (
    <ul className={styles.uses}>
      {uses.map((use, index) => {
        const run = names[use.run];
        return (
          <li key={index} className={styles.use}>
            <span className={styles.role} data-role={use.role}>
              {use.role === "output" ? "wrote" : "read"}
            </span>
            {withRun && (
              <>
                {run && <StatusBadge status={run.status} label={false} />}
                <Link to="/runs/$run/{-$tab}" params={{ run: use.run, tab: "lineage" }} className={styles.wrap}>
                  {run?.name ?? `run ${use.run.slice(-8)}`}
                </Link>
              </>
            )}
            {withVersion && <VersionLink use={use} />}
            {use.part && <span className="quiet small">part {use.part}</span>}
            <span className="quiet small">
              <Time at={use.time} tooltip={false} />
              {run && withRun && ` by ${run.user}`}
            </span>
            <Served use={use} />
          </li>
        );
      })}
    </ul>
  );
}

function VersionLink({ use }: { use: Use }) {
  const [where = "", name = ""] = [use.address.slice(0, use.address.lastIndexOf("/")), use.address.slice(use.address.lastIndexOf("/") + 1).split("@")[0]];
  // the address of a version knows its dataset by name only; that of the page finds it by the version's id
  return (
    <Link
      to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: name, version: use.version, section: undefined }} search={{ project: where } as never} className={styles.wrap}
    >
      {use.address}
    </Link>
  );
}

function Served({ use }: { use: Use }) {
  const { cached, fetched } = use.served as Record<string, number | undefined>;
  const told = [fetched ? `${bytes(fetched)} fetched` : "", cached ? `${bytes(cached)} from the cache` : ""].filter(Boolean).join(", ");
  return told ? <span className="quiet small tabular">{told}</span> : null;
}
