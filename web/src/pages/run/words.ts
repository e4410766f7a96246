// A run in a few plain sentences.
import type { Answer } from "@/api/client";
import { duration, number, relative } from "@/format";

import { lowerIsBetter, mainMetrics } from "./metrics";

export type Run = Answer<"/v1/runs/{run_id}", "get">;
export type Progress = Answer<"/v1/runs/{run_id}/progress", "get">;

const CAUSES: Record<string, string> = {
  agent_lost: "its agent was lost", preempted: "it had to make room", out_of_memory: "it ran out of memory", time_limit: "its time was up",
};

/** The best value that a metric reached, and where: by its name's direction, else the last one. */
export function bestOf(name: string, summary: Run["metrics"][string]): { value: number; step: number; word: string } {
  const lower = lowerIsBetter(name);
  if (lower === null) return { value: summary.last, step: summary.last_step, word: "last" };
  return lower ? { value: summary.min, step: summary.min_step, word: "lowest" } : { value: summary.max, step: summary.max_step, word: "highest" };
}

/** What happened, in one or two sentences; `now` in milliseconds. */
export function inWords(run: Run, progress?: Progress | null, now = Date.now()): string {
  const who = run.user ? ` by ${run.user}` : "";
  const where = run.host ? ` on ${run.host}` : "";
  const took = run.started != null ? duration(((run.ended ?? now * 1000) - run.started) / 1e6) : "";
  let text: string;
  switch (run.status) {
    case "draft":
      text = `A draft made ${relative(run.created, now)}${who}: nothing was executed yet.`;
      break;
    case "queued":
      text = `Waits in the queue ${run.queue || "default"}, made ${relative(run.created, now)}${who}.`;
      if (run.retries) text += ` Tried ${run.retries + 1} times so far${run.cause ? `: ${CAUSES[run.cause] ?? run.cause}` : ""}.`;
      break;
    case "running":
      text = `Running for ${took}${where}, started${who}.`;
      break;
    case "completed":
      text = `Completed after ${took}, ${relative(run.ended ?? run.created, now)}${where}${who}.`;
      break;
    case "failed":
      text = `Failed after ${took}${run.ended != null ? `, ${relative(run.ended, now)}` : ""}${where}${run.cause && CAUSES[run.cause] ? `: ${CAUSES[run.cause]}` : ""}.`;
      break;
    case "stopped":
      text = `Stopped${took ? ` after ${took}` : ""}${run.ended != null ? `, ${relative(run.ended, now)}` : ""}${where}.`;
      break;
    default:
      text = `Lost: nothing was heard of it ${run.heartbeat != null ? `since ${relative(run.heartbeat, now)}` : "for a while"}${where}.`;
  }
  const [main] = mainMetrics(Object.keys(run.metrics), 1);
  const summary = main === undefined ? undefined : run.metrics[main];
  if (main !== undefined && summary) {
    const best = bestOf(main, summary);
    const at = summary.count > 1 ? ` at step ${best.step.toLocaleString("en")}` : "";
    text += ` ${best.word === "last" ? `Its last ${main} is` : `Its ${best.word} ${main} is`} ${number(best.value)}${best.word === "last" ? "" : at}.`;
  }
  if (run.status === "running") text += progressInWords(progress, now);
  return text;
}

export function progressInWords(progress: Progress | null | undefined, now: number): string {
  if (!progress) return "";
  const end = progress.expected_end != null && progress.expected_end > now * 1000 ? `about ${duration((progress.expected_end / 1000 - now) / 1000)} left` : "";
  if (progress.basis === "earlier") return end ? ` By earlier runs of this script, ${end}.` : "";
  if (progress.fraction == null) return "";
  const steps = progress.steps != null && progress.step != null ? `step ${(progress.step + 1).toLocaleString("en")} of ${progress.steps.toLocaleString("en")}` : `${Math.round(progress.fraction * 100)} %`;
  return ` At ${steps}${end ? `, ${end}` : ""}.`;
}
