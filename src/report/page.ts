/** A report as one file: its script, style and data are inlined, and a content policy keeps it off the network. */
import { script, scriptHash, style } from './app.generated';

export interface Page {
  readonly title: string;
  /** Which view of the app shows the data. */
  readonly view:
    | 'compare'
    | 'bench'
    | 'look'
    | 'paint'
    | 'quality'
    | 'reproduce'
    | 'long-context'
    | 'longca'
    | 'context-parallel'
    | 'sweep';
  /** Anything JSON can hold. */
  readonly data: unknown;
}

/** The page as HTML. It opens from disk, follows the reader's light or dark setting and prints. */
export function htmlPage({ title, view, data }: Page): string {
  const policy = `default-src 'none'; script-src '${scriptHash}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeText(title)}</title>
<style>
${style}
</style>
</head>
<body>
<main id="app"><noscript>This report is drawn by its own script: allow scripts for this file.</noscript></main>
<script type="application/json" id="report">${escapeJson({ title, view, data })}</script>
<script>${script}</script>
</body>
</html>
`;
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** JSON in which no string can end the script element or open a comment. */
function escapeJson(value: Page): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}
