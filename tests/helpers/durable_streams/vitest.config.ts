/** Settings of the published conformance suite; its own limit of 5 s is shorter than a long-poll. */
export default {
  test: {
    include: ["tests/helpers/durable_streams/suite.ts"],
    testTimeout: 30_000,
    // One file has nobody to be kept apart from.
    pool: "threads",
    isolate: false,
  },
};
