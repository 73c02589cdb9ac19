/** The files of the default model, which lie beside this module. */
import { ParameterError } from '../errors';
import { fetchAsset, readAsset } from '../io/asset';
import { checkControl } from '../ops/check';
import type { Control } from '../runtime/backend';

const FILES: Readonly<Record<string, () => URL>> = {
  'config.json': () => new URL('./config.json', import.meta.url),
  'tokenizer.json': () => new URL('./tokenizer.json', import.meta.url),
  'model.safetensors': () => new URL('./model.safetensors', import.meta.url),
};

/** As of a folder. @throws {ParameterError} files that cannot be had */
export function defaultModelFiles(control: Pick<Control, 'signal'> = {}): Promise<File[]> {
  checkControl(control);
  return Promise.all(
    Object.entries(FILES).map(async ([name, place]) => {
      const url = place();
      try {
        // Never by a call that waits: the worker of a page could not be told to stop.
        const inNode = url.protocol === 'file:' ? readAsset(url) : undefined;
        return new File([inNode ?? (await fetchAsset(url, control.signal))], name);
      } catch (error) {
        control.signal?.throwIfAborted();
        throw new ParameterError(
          `the default model's ${name} cannot be loaded from ${url} (${(error as Error).message}): a bundler must take the package's files along`,
        );
      }
    }),
  );
}
