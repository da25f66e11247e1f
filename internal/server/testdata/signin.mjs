// Signs in at /signin as a person does: with an issuer, then with a key, and wrongly.
//
//   node signin.mjs FOLDER-OF-PLAYWRIGHT SERVER KEY SCREENSHOTS
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, server, key, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(pathToFileURL(folder + '/'))('playwright-core');
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });

try {
  const page = await browser.newPage();
  const trouble = [];
  page.on('console', message => {
    const expected = !message.location().url.startsWith(server) || message.text().includes('401');
    if (message.type() === 'error' && !expected) trouble.push(message.text());
  });
  page.on('pageerror', error => trouble.push(error.message));

  await page.goto(server + '/signin');
  await page.screenshot({ path: screenshots + '/signin.png' });
  await page.getByLabel('Key').fill('stele_aaaaaaaaaa_' + '0'.repeat(64));
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').getByText('this key is not valid').waitFor();

  await page.getByRole('link', { name: 'Continue with corp' }).click();
  await page.locator('[name=login]').fill('ann');
  await page.locator('[name=password]').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('heading', { name: 'Signed in as corp:ann@example.com' }).waitFor();
  await page.screenshot({ path: screenshots + '/signedin.png' });
  const cookies = await page.context().cookies(server);
  const session = cookies.find(cookie => cookie.name === '__Host-stele');
  assert.ok(session.httpOnly && session.secure && session.sameSite === 'Lax' && session.path === '/', 'the cookie of the session');
  assert.equal(await page.evaluate(() => document.cookie), '', 'what scripts see of cookies');
  const keys = await page.evaluate(async () => (await fetch('/keys')).status);
  assert.equal(keys, 200, 'an auditor lists keys');

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Signed in as billing' }).waitFor();
  assert.deepEqual(trouble, [], 'errors on the console');
} finally {
  await browser.close();
}
