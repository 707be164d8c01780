/** Clients at full speed. */
import { blockOf, digestOf, metadataOf } from "../helpers/content.ts";
import { nowMs } from "../helpers/clock.ts";
import { openFollower, startUpload } from "./connections.ts";
import type { FollowJob, Prepared, UploadJob } from "./jobs.ts";

export async function prepareUpload(job: UploadJob): Promise<Prepared<"upload">> {
  const block = blockOf(job.form);
  // The library computes it while it uploads, as anybody's would.
  const digest = job.client === "thin" ? await digestOf(block, job.blocks) : "";
  const upload = await startUpload(job.client, job.server, metadataOf(job.form));
  const go = async () => {
    const startedAtMs = nowMs();
    for (let count = 0; count < job.blocks; count++) await upload.write(block);
    await upload.finish(() => Promise.resolve(digest));
    return { startedAtMs, endedAtMs: nowMs() };
  };
  return { ready: { references: [upload.reference] }, go };
}

export async function prepareFollow(job: FollowJob): Promise<Prepared<"follow">> {
  const follower = await openFollower(job.client, job.reference);
  const go = async () => {
    const startedAtMs = nowMs();
    let bytes = 0;
    await follower.read(job.to, (byteCount) => bytes += byteCount);
    const endedAtMs = nowMs();
    follower.close();
    return { startedAtMs, endedAtMs, bytes };
  };
  return { ready: null, go };
}
