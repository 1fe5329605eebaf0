// A certified OpenID Connect provider, over plain HTTP on loopback, for one test.
//
// Owns nothing of the protocol: that is the package's. What it adds is the person in front of the browser, who signs in
// at once as whoever the test says: `PUT /person` takes their claims as JSON, `sub` among them.
//
//   provider.mjs '{"port": 0, "redirect": URL, "id": ID, "secret": SECRET, "key": NAME, "claimsInToken": false}'
//
// Says its URL in one line of standard output once it listens, and ends with its standard input.

import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const wanted = JSON.parse(process.argv[2]);
const people = new Map();
let person = null;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: wanted.key, use: 'sig', alg: 'RS256' };

const server = createServer();
server.listen(wanted.port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: wanted.id,
        client_secret: wanted.secret,
        redirect_uris: [wanted.redirect],
        token_endpoint_auth_method: wanted.method ?? 'client_secret_basic',
      },
    ],
    jwks: { keys: [key] },
    cookies: { keys: ['of a test'] },
    conformIdTokenClaims: !wanted.claimsInToken,
    scopes: ['openid', 'email', 'profile', 'groups'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['preferred_username'],
      groups: ['groups'],
    },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/person/${interaction.uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => people.get(sub) }),
    async loadExistingGrant(ctx) {
      const { client, session } = ctx.oidc;
      const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
  });
  const protocol = provider.callback();

  server.on('request', async (request, response) => {
    if (request.method === 'PUT' && request.url === '/person') {
      const parts = [];
      for await (const part of request) parts.push(part);
      person = JSON.parse(Buffer.concat(parts).toString());
      if (person !== null) people.set(person.sub, person);
      response.writeHead(204).end();
    } else if (request.url.startsWith('/person/')) {
      const said = person === null
        ? { error: 'access_denied', error_description: 'nobody is there' }
        : { login: { accountId: person.sub } };
      await provider.interactionFinished(request, response, said);
    } else {
      protocol(request, response);
    }
  });
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0)).resume();
