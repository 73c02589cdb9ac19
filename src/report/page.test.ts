import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { htmlPage } from './page';

const HOSTILE = '</script><script>alert(1)</script><!-- & <b>\u2028 "quotes" \\';

/** The text between `start` and the first `end` after it. */
function between(html: string, start: string, end: string): string {
  const from = html.indexOf(start) + start.length;
  return html.slice(from, html.indexOf(end, from));
}

test('data comes back as it was, whatever its strings hold', () => {
  const data = { text: HOSTILE, numbers: [1.5, -0, 1e-300], nested: { [HOSTILE]: null } };
  const html = htmlPage({ title: 'A report', view: 'compare', data });
  const json = between(html, '<script type="application/json" id="report">', '</script>');
  expect(JSON.parse(json)).toEqual({
    title: 'A report',
    view: 'compare',
    data: { ...data, numbers: [1.5, 0, 1e-300] },
  });
});

test('neither data nor title can add elements', () => {
  const plain = htmlPage({ title: 'A', view: 'compare', data: '' });
  const hostile = htmlPage({ title: HOSTILE, view: 'compare', data: HOSTILE });
  const tags = (html: string) => html.match(/<\/?(script|b|style|main)\b/g);
  expect(tags(hostile)).toEqual(tags(plain));
  expect(between(hostile, '<title>', '</title>')).toContain('&lt;/script>');
});

test('the page refers to nothing outside itself, forbids the network, and runs its own script alone', () => {
  const html = htmlPage({ title: 'A', view: 'bench', data: {} });
  const markup = html.replace(/<script>[\s\S]*<\/script>/, '').replace(/<style>[\s\S]*<\/style>/, '');
  expect(markup).not.toMatch(/\b(src|href)=/);
  const hash = createHash('sha256')
    .update(between(html, '<script>', '</script>'))
    .digest('base64');
  const policy = between(html, 'http-equiv="Content-Security-Policy" content="', '"');
  expect(policy).toContain(`default-src 'none'; script-src 'sha256-${hash}'; style-src`);
});

test('the notices of the code in the page travel with it', () => {
  const html = htmlPage({ title: 'A', view: 'compare', data: {} });
  expect(html).toContain('@observablehq/plot');
  expect(html).toMatch(/Copyright .* Mike Bostock/);
});
