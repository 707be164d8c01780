/**
 * What has no lines: pictures and videos as a browser shows them, JSON, or facts and a download.
 * @module
 */
import { plainly } from "../model/pieces.ts";
import { useEffect, useState } from "preact/hooks";
import type { ResourceInfo } from "../../client.ts";
import { ContentLink } from "./parts.tsx";
import { contentAddress, readBytes, token } from "./place.ts";
import { bytesText } from "./row.ts";

/** Longer JSON is not laid out. */
const MAX_JSON_BYTES = 2_000_000;
/** Larger pictures are not read into the page, where a token has to be sent along. */
const MAX_BLOB_BYTES = 64_000_000;

/** Shows the content of a resource without lines. */
export function Content({ info }: { info: ResourceInfo }) {
  const { id, mimeType, currentSize, transferStatus, failure } = info;
  const isOver = transferStatus === "COMPLETED" || transferStatus === "FAILED";
  return (
    <div class="content">
      {failure !== null && <p class="ending failed" role="status">FAILED – {plainly(failure)}</p>}
      {isOver ? <Shown info={info} /> : <p>Still arriving: {bytesText(currentSize)} so far.</p>}
      <p>
        <ContentLink id={id} name={info.filename} download>
          Download ({bytesText(currentSize)}, {mimeType})
        </ContentLink>
      </p>
    </div>
  );
}

function Shown({ info }: { info: ResourceInfo }) {
  const { mimeType, filename, currentSize } = info;
  if (/^image\//.test(mimeType)) {
    return <Media info={info} show={(url) => <img src={url} alt={filename} />} />;
  }
  if (/^video\//.test(mimeType)) {
    return <Media info={info} show={(url) => <video src={url} controls aria-label={filename} />} />;
  }
  if (/^audio\//.test(mimeType)) {
    return <Media info={info} show={(url) => <audio src={url} controls aria-label={filename} />} />;
  }
  if (/^application\/(.+\+)?json$/.test(mimeType) && currentSize <= MAX_JSON_BYTES) {
    return <Json info={info} />;
  }
  return <p>This kind of file is not shown here.</p>;
}

/** A token travels in a header, which no picture sends: what needs one is read first. */
function Media(
  { info, show }: { info: ResourceInfo; show: (url: string) => preact.JSX.Element },
) {
  const { id, mimeType, currentSize } = info;
  const needsToken = token() !== undefined;
  const [url, setUrl] = useState(needsToken ? null : contentAddress(id, false));
  const [why, setWhy] = useState("");
  useEffect(() => {
    if (!needsToken) return;
    if (currentSize > MAX_BLOB_BYTES) return setWhy("This file is too large to be shown here.");
    let made: string | null = null;
    readBytes(id, 0, currentSize).then((bytes) => {
      made = URL.createObjectURL(new Blob([bytes as BlobPart], { type: mimeType }));
      setUrl(made);
    }, (error) => setWhy(String(error.message)));
    return () => {
      if (made !== null) URL.revokeObjectURL(made);
    };
  }, [id]);
  if (why !== "") return <p>{why}</p>;
  return url === null ? <p>Reading …</p> : show(url);
}

function Json({ info }: { info: ResourceInfo }) {
  const [text, setText] = useState("Reading …");
  useEffect(() => {
    if (info.currentSize === 0) return setText("");
    readBytes(info.id, 0, info.currentSize).then((bytes) => setText(pretty(bytes)), (error) => {
      setText(String(error.message));
    });
  }, [info.id, info.currentSize]);
  return <pre class="json" tabIndex={0} aria-label={info.filename}>{text}</pre>;
}

/** What is no JSON after all is shown as it is. */
function pretty(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
