/** Uploads by HTTP that end while others ask for them. */
import { test } from "node:test";
import { HttpUploads } from "../../src/session/http_upload.ts";
import { StreamError } from "../../src/protocol.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { registration } from "../helpers/resources.ts";
import { GatedStorage, memoryResources } from "../helpers/server.ts";

const NOTHING = { body: null, byteCount: null };

test("whoever found an upload before it ended waits for no byte that was refused", async () => {
  const storage = new GatedStorage();
  const resources = memoryResources({ storage });
  const owned = await resources.register(registration({ ownedBy: "SECRET" }));
  const upload = new HttpUploads(resources).add(owned, () => {}, []);
  storage.failure = new StreamError("STORAGE_FAILED", "the disk refuses");
  const content = { body: new Blob(["abc"]).stream(), byteCount: 3 };
  await assertFails("STORAGE_FAILED", () => upload.own((intake) => intake.receive(content)));
  const looked = upload.own((intake) => intake.receive(NOTHING));
  await assertFails("STORAGE_FAILED", () => within("the end of a look", looked));
  await resources.close();
});
