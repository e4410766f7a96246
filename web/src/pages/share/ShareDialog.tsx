// Makes an address that opens a run, a comparison or a view, and lists those that there are already.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { Banner, Button, CopyButton, copyText, Dialog, Field, Input, Segments, Select, toastProblem } from "@/ui";

import { policyQuery, useSetPolicy, useWhoami, whole, type Share, type ShareTarget } from "./data";
import { ShareList } from "./ShareList";
import styles from "./share.module.css";

const NAMES = { run: "this run", comparison: "this comparison", view: "this view" };
const DAYS = [
  ["7", "a week"],
  ["30", "a month"],
  ["90", "three months"],
  ["365", "a year"],
] as const;

export function ShareDialog({ open, onClose, target }: { open: boolean; onClose: () => void; target: ShareTarget }) {
  return open ? <OpenShareDialog onClose={onClose} target={target} /> : null;
}

function OpenShareDialog({ onClose, target }: { onClose: () => void; target: ShareTarget }) {
  const client = useQueryClient();
  const policy = useQuery(policyQuery);
  const [title, setTitle] = useState("");
  const [who, setWho] = useState<"members" | "anyone">("members");
  const [days, setDays] = useState("30");
  const [made, setMade] = useState<Share | null>(null);
  const [copied, setCopied] = useState(false);
  const make = useMutation({
    mutationFn: () => {
      const named = target.kind === "view" ? { view: target.view } : target.kind === "run" ? { runs: target.runs, against: target.against } : { runs: target.runs };
      return api.post("/v1/shares", {
        body: { ...named, metric: target.metric ?? "", title: title.trim(), public: who === "anyone", days: Number(days) },
      });
    },
    onSuccess: async (share) => {
      setMade(share);
      setCopied(await copyText(whole(share)));
      void client.invalidateQueries({ queryKey: ["shares"] });
    },
    onError: toastProblem,
  });
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Share ${NAMES[target.kind]}`}
      onSubmit={() => (made ? onClose() : make.mutate())}
      actions={
        made ? (
          <Button kind="primary" type="submit">
            Done
          </Button>
        ) : (
          <>
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" type="submit" disabled={make.isPending}>
              Make and copy the address
            </Button>
          </>
        )
      }
    >
      {made ? (
        <div className="stack">
          <p>
            {made.public ? "Whoever has this address sees" : "Whoever has this address and signs in sees"} {NAMES[target.kind]}, read only, and nothing else.
            {copied && " It is on the clipboard."}
          </p>
          <Address share={made} />
        </div>
      ) : (
        <div className="stack">
          <p className="quiet">The address opens a page for reading: what came out in words, the chart, and what changed.</p>
          <Field label="Title" hint="Optional; stands above the headline.">
            {(aria) => <Input {...aria} data-focus value={title} maxLength={200} onChange={(event) => setTitle(event.target.value)} />}
          </Field>
          <div className="row">
            <span className="small">Opens for</span>
            <Segments
              label="Who can open it"
              value={who}
              onChange={setWho}
              options={[
                { id: "members", label: "people who sign in" },
                { id: "anyone", label: "anyone with the address" },
              ]}
            />
          </div>
          {who === "anyone" && policy.data && !policy.data.public && <NotAllowed />}
          <Field label="Until it expires">
            {(aria) => (
              <Select {...aria} value={days} onChange={(event) => setDays(event.target.value)}>
                {DAYS.map(([value, label]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Select>
            )}
          </Field>
          {target.kind === "run" && <ShareList run={target.runs[0]} heading="Shared already" />}
        </div>
      )}
    </Dialog>
  );
}

/** The tenant does not allow addresses that open by themselves; an admin can change that here. */
function NotAllowed() {
  const me = useWhoami();
  const allow = useSetPolicy();
  const admin = me.data?.role === "admin";
  return (
    <Banner
      kind="warn"
      actions={
        admin && (
          <Button size="small" disabled={allow.isPending} onClick={() => allow.mutate(true)}>
            Allow it
          </Button>
        )
      }
    >
      Addresses here open only to people who sign in. {admin ? "You may allow others." : "An admin can allow others, under Settings."}
    </Banner>
  );
}

function Address({ share }: { share: Share }) {
  const text = whole(share);
  return (
    <div className={styles.address}>
      <input readOnly aria-label="Address" value={text} autoFocus onFocus={(event) => event.target.select()} />
      <CopyButton text={text} what="the address" />
    </div>
  );
}
