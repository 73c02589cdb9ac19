/** Bundles a script for pages, and the notices of the code that it includes. */
import { rolldown } from 'rolldown';
import license, { type Dependency } from 'rollup-plugin-license';

export async function bundle(input: string, format: 'iife' | 'es'): Promise<{ code: string; notices: string }> {
  let notices = '';
  const keepNotices = license({
    thirdParty: {
      output: (dependencies) => {
        notices = dependencies.map(formatNotice).join('\n\n');
      },
    },
  });
  await using build = await rolldown({ input, platform: 'browser', external: /^node:/, plugins: [keepNotices] });
  const { output } = await build.generate({ format, minify: true, comments: { legal: false } });
  return { code: output[0].code, notices };
}

function formatNotice({ name, version, license: terms, licenseText }: Dependency): string {
  if (!licenseText) throw new Error(`${name} ${version} is in a page's script but has no licence text to keep`);
  return `${name} ${version} (${terms})\n${licenseText.trim()}`;
}
