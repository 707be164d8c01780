/**
 * The face of plain HTTP (PROTOCOL.md 6).
 * @module
 */
import type { FaceParts } from "./face.ts";
import { contentRoutes } from "./http/content.ts";
import { contextRoutes } from "./http/contexts.ts";
import { descriptionRoutes } from "./http/description.ts";
import { eventsRoutes } from "./http/events.ts";
import { healthRoutes } from "./http/health.ts";
import { linesRoutes } from "./http/lines.ts";
import { listingRoutes } from "./http/listing.ts";
import { searchRoutes } from "./http/search.ts";
import { shareRoutes } from "./http/share.ts";
import { uploadRoutes } from "./http/uploads.ts";
import type { Route } from "./route.ts";

/**
 * Brings the routes of plain HTTP.
 * @param parts What they work with.
 */
export function httpFace(parts: FaceParts): Route[] {
  return [
    ...listingRoutes(parts),
    ...contentRoutes(parts),
    ...linesRoutes(parts),
    ...searchRoutes(parts),
    ...eventsRoutes(parts),
    ...uploadRoutes(parts),
    ...shareRoutes(parts),
    ...contextRoutes(parts),
    ...healthRoutes(parts),
    ...descriptionRoutes(parts),
  ];
}
