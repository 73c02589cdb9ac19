import { UnsupportedError } from '../../errors';
import type { Contender } from '../contender';
import { isKnownToPeers, MASK_NAMES } from '../problem';
import type { BrowserHost } from './host';
import type { Opening } from './protocol';

/** Saccade or a peer in a page of its own. */
export function inPage(host: BrowserHost, name: string, setting: Omit<Opening, 'problem'>): Contender {
  return {
    name,
    async open({ problem: { n, h, d, mask } }, signal) {
      const page = await host.open(signal);
      try {
        if (!isKnownToPeers(mask.name))
          throw new UnsupportedError(`pages know the masks ${MASK_NAMES.join(', ')}, got ${mask.name}`);
        const problem = { n, h, d, mask: mask.name };
        const { threads } = await page.ask('open', { ...setting, problem }, signal);
        return {
          threads,
          time: (calls, signal) => page.ask('time', { calls }, signal),
          result: (signal) => page.ask('result', {}, signal),
          memory: (signal) => page.ask('memory', {}, signal),
          close: page.close,
        };
      } catch (error) {
        page.close();
        throw error;
      }
    },
  };
}
