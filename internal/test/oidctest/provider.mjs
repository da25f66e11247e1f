// An OpenID provider for tests: oidc-provider, certified by the OpenID Foundation. It prints
// its URL once it listens. POST /rotate has it sign with a new key from then on.
//
//   node provider.mjs FOLDER-WITH-NODE_MODULES REDIRECT-URI
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(process.argv[2] + '/'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let answer = provider(issuer);
  server.on('request', (request, response) => {
    if (request.url === '/rotate') {
      answer = provider(issuer);
      response.end();
    } else {
      answer(request, response);
    }
  });
  console.log(issuer);
});

function provider(issuer) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: randomUUID() }] },
    clients: [{
      client_id: 'stele',
      client_secret: 'a-secret-of-the-client',
      redirect_uris: [process.argv[3]],
      id_token_signed_response_alg: 'ES256',
    }],
    conformIdTokenClaims: false,
    claims: { openid: ['sub', 'groups', 'tenant'], email: ['email'] },
    async findAccount(context, id) {
      const groups = id === 'ann' ? ['staff', 'audit'] : ['staff'];
      return { accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, groups, tenant: '7' }) };
    },
    cookies: { keys: [randomUUID()] },
  }).callback();
}
