/** Builds the atlas into atlas/dist, and with `serve` shows it on a port of this machine. */
import { resolve } from 'node:path';
import { build, type InlineConfig, type PreviewServer, preview, runnerImport } from 'vite';

/** What the atlas is built by: made from the library's source, so Vite has to load it. */
export async function atlasConfig(): Promise<InlineConfig> {
  const { module } = await runnerImport<{ default: InlineConfig }>(resolve(import.meta.dirname, '../atlas/config.ts'));
  return module.default;
}

/** Serves what was built, and prints the address. */
export async function serveAtlas(config: InlineConfig): Promise<PreviewServer> {
  const server = await preview(config);
  console.log(`The atlas is at ${server.resolvedUrls?.local[0]} until Ctrl-C.`);
  return server;
}

if (import.meta.main) {
  const config = await atlasConfig();
  await build(config);
  if (process.argv[2] === 'serve') await serveAtlas(config);
}
