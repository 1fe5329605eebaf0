// Follows a Patchwave over GraphQL and prints one JSON document a line. After a break it goes on where it was.
//
//   PATCHWAVE_TOKEN=pw_… node follow.mjs [--sse] http://localhost:7300 execution ID
//                                                                      log JOB [LINE]
//                                                                      events [FILTER…]
//                                                                      runners
import { Client, subscriptionExchange } from '@urql/core';
import { createClient as serverSentEvents } from 'graphql-sse';
import { createClient as webSocket } from 'graphql-ws';
import { toAsyncIterable } from 'wonka';
import WebSocket from 'ws';

const EVENT = '{ sequence subject id type version time actor correlation aggregate execution data }';

// What can be followed, and which variables go on behind the last that came.
const KINDS = {
  execution: {
    query: `subscription ($id: ID!, $after: Sequence) { executionEvents(executionId: $id, after: $after) ${EVENT} }`,
    variables: ([id]) => ({ id }),
    behind: (event) => ({ after: event.sequence }),
  },
  log: {
    query: `subscription ($id: ID!, $fromLine: Sequence) {
      jobLog(jobId: $id, fromLine: $fromLine) { attempt firstLine lines nextLine ended } }`,
    variables: ([id, line]) => ({ id, fromLine: line && Number(line) }),
    behind: (batch) => ({ fromLine: batch.nextLine }),
  },
  events: {
    query: `subscription ($filters: [String!], $after: Sequence) { events(filters: $filters, after: $after) ${EVENT} }`,
    variables: (filters) => ({ filters, after: 0 }),
    behind: (event) => ({ after: event.sequence }),
  },
  runners: {
    query: 'subscription { runners { id state slots reason now { slots running { jobId attempt } trouble } } }',
    variables: () => ({}),
    // All of them come again.
    behind: () => ({}),
  },
};

const EXECUTION = `query ($id: ID!, $atLeast: Sequence) {
  execution(id: $id, atLeast: $atLeast) { id state counts { succeeded failed } } }`;

function connect(url, token, sse) {
  const authorization = token && `Bearer ${token}`;
  // To try again is ours: only we know the place to go on from.
  const transport = sse
    ? serverSentEvents({ url: `${url}/graphql`, headers: authorization ? { authorization } : {}, retryAttempts: 0 })
    : webSocket({
        url: `${url.replace(/^http/, 'ws')}/graphql`,
        webSocketImpl: WebSocket,
        connectionParams: authorization ? { authorization } : {},
        retryAttempts: 0,
      });
  const forwardSubscription = (request) => ({
    subscribe: (sink) => ({ unsubscribe: transport.subscribe({ ...request, query: request.query ?? '' }, sink) }),
  });
  const exchange = subscriptionExchange({ forwardSubscription, enableAllOperations: true });
  return { client: new Client({ url: `${url}/graphql`, exchanges: [exchange] }), close: () => transport.dispose() };
}

// A break passes; a refusal does not.
function passes({ networkError }) {
  const refused = networkError?.code >= 4400 || (networkError?.response?.status ?? 500) < 500;
  return networkError && !refused;
}

async function* follow(client, { query, behind }, variables) {
  for (;;) {
    let broken = false;
    for await (const { data, error } of toAsyncIterable(client.subscription(query, variables))) {
      if (error && !passes(error)) throw error;
      broken = Boolean(error);
      if (broken) break;
      const [item] = Object.values(data);
      yield item;
      variables = { ...variables, ...behind(item) };
    }
    if (!broken) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const print = (document) => console.log(JSON.stringify(document));

const words = process.argv.slice(2);
const sse = words[0] === '--sse' && words.shift();
const [url, kind, ...rest] = words;
if (!KINDS[kind]) {
  console.error('usage: node follow.mjs [--sse] URL execution|log|events|runners …');
  process.exit(2);
}
const { client, close } = connect(url, process.env.PATCHWAVE_TOKEN, sse);
try {
  let last;
  for await (const item of follow(client, KINDS[kind], KINDS[kind].variables(rest))) {
    print(item);
    last = item;
  }
  if (kind === 'execution') {
    // What was told may be ahead of what is shown: a query that names the sequence waits for it.
    const { data, error } = await client.query(EXECUTION, { id: rest[0], atLeast: last?.sequence });
    if (error) throw error;
    print(data.execution);
  }
} catch (error) {
  console.error(`error: ${error.networkError?.reason || error.message || error}`);
  process.exitCode = 1;
} finally {
  await close();
}
