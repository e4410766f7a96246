// The whole log: followed while it grows, searched on the server, every line an address.
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { api, Problem } from "@/api/client";
import { count } from "@/format";
import { Banner, Button, Checkbox, CopyAs, Empty, SearchBox, Segments, Select, SkeletonLines } from "@/ui";

import { again, usePlace } from "./context";
import { Found } from "./Found";
import { Log } from "./Log";
import { rankOf } from "./metrics";
import styles from "./run.module.css";

export default function Console() {
  const { id, run, values, change } = usePlace();
  const [seen, setSeen] = useState<ReadonlySet<number>>(new Set());
  const total = useQuery({
    queryKey: ["run", id, "console", "total"],
    queryFn: async ({ signal }) => {
      const last = await api.get("/v1/runs/{run_id}/console", { params: { run_id: id }, query: { tail: 1 }, signal });
      // what an earlier attempt had left may be gone: then the numbers do not begin at 1
      const first = last.total ? await api.get("/v1/runs/{run_id}/console", { params: { run_id: id }, query: { limit: 1 }, signal }) : null;
      return { total: last.total, first: first?.lines[0]?.number ?? 1 };
    },
    refetchInterval: again(run, 3),
  });
  const ranks = useMemo(() => {
    const known = new Set([...Object.keys(run.metrics).map(rankOf), ...seen]);
    return [...known].sort((a, b) => a - b);
  }, [run.metrics, seen]);

  const pattern = values.grep ?? "";
  const errors = values.stream === "err";
  const wrap = values.wrap === "1";
  const times = values.times === "1";
  const lanes = values.lanes === "1" && ranks.length > 1;
  const rank = values.rank !== undefined && /^\d+$/.test(values.rank) ? Number(values.rank) : null;
  const line = Number(values.line) || null;
  const live = run.status === "running";
  const follow = live && values.follow !== "0" && line === null;
  const filtered = pattern !== "" || errors || rank !== null;

  if (total.error && !total.data) return <Banner kind="bad">{total.error instanceof Problem ? total.error.message : String(total.error)}</Banner>;
  if (!total.data) return <SkeletonLines lines={10} />;
  if (!total.data.total)
    return (
      <Empty title={live ? "Nothing was printed yet" : "Nothing was printed"}>
        <p>What the script prints appears here{live ? " as it comes" : ""}, both of its streams.</p>
      </Empty>
    );
  const open = (number: number) => change({ line: String(number), grep: undefined, stream: undefined, rank: undefined, lanes: undefined });
  const look = { wrap, times, onRank: (found: number) => seen.has(found) || setSeen(new Set([...seen, found])) };
  return (
    <div className={styles.section}>
      <div className={styles.tools}>
        <SearchBox
          value={pattern} onChange={(text) => change({ grep: text, line: undefined }, { replace: true })} delay={350}
          label="Search the whole log" placeholder="Search the whole log: error|warn"
        />
        <Checkbox label="errors only" checked={errors} onChange={(event) => change({ stream: event.target.checked ? "err" : undefined, line: undefined }, { replace: true })} />
        <Checkbox label="wrap" checked={wrap} onChange={(event) => change({ wrap: event.target.checked ? "1" : undefined }, { replace: true })} />
        <Checkbox label="times" checked={times} onChange={(event) => change({ times: event.target.checked ? "1" : undefined }, { replace: true })} />
        {live && (
          <Checkbox label="follow" checked={follow} onChange={(event) => change({ follow: event.target.checked ? undefined : "0", line: undefined }, { replace: true })} />
        )}
        {ranks.length > 1 && (
          <>
            <Segments
              label="Ranks" value={lanes ? "lanes" : "one"} onChange={(next) => change({ lanes: next === "lanes" ? "1" : undefined, rank: undefined }, { replace: true })}
              options={[{ id: "one", label: "One log" }, { id: "lanes", label: "A lane a rank" }]}
            />
            {!lanes && (
              <Select aria-label="Rank" value={rank ?? ""} onChange={(event) => change({ rank: event.target.value, line: undefined }, { replace: true })}>
                <option value="">all ranks</option>
                {ranks.map((one) => (
                  <option key={one} value={one}>
                    rank {one}
                  </option>
                ))}
              </Select>
            )}
          </>
        )}
        <span className="push row">
          {line !== null && !filtered && (
            <Button size="small" onClick={() => change({ line: undefined }, { replace: true })}>
              Line {count(line)} <span aria-hidden="true">×</span>
            </Button>
          )}
          <CopyAs
            python={`import larder\nfor line in larder.run("${id}").console(${pattern ? `pattern=${JSON.stringify(pattern)}` : ""}):\n    print(line.text)`}
            cli={`larder runs logs ${id}${pattern ? ` --pattern '${pattern.replaceAll("'", `'"'"'`)}'` : ""}${errors ? " --stream err" : ""}${rank !== null ? ` --rank ${rank}` : ""}`}
            curl={`curl -H "Authorization: Bearer $LARDER_TOKEN" '${location.origin}/v1/runs/${id}/console${pattern ? `?pattern=${encodeURIComponent(pattern)}` : ""}'`}
          />
        </span>
      </div>
      {lanes ? (
        <div className={styles.lanes}>
          {ranks.map((one) => (
            <section key={one} className={styles.lane} aria-label={`Rank ${one}`}>
              <h3>Rank {one}</h3>
              <Found query={{ pattern, stream: errors ? "err" : "", rank: one }} total={total.data.total} look={{ ...look, ranked: false }} follow={follow} onOpen={open} />
            </section>
          ))}
        </div>
      ) : filtered ? (
        <Found query={{ pattern, stream: errors ? "err" : "", rank }} total={total.data.total} look={{ ...look, ranked: ranks.length > 1 && rank === null }} follow={follow} onOpen={open} />
      ) : (
        <Log
          first={total.data.first} total={total.data.total} line={line} follow={follow} look={{ ...look, ranked: ranks.length > 1 }}
          onFollow={(on) => change({ follow: on ? undefined : "0" }, { replace: true })} onLine={(number) => change({ line: String(number) }, { replace: true })}
        />
      )}
    </div>
  );
}
