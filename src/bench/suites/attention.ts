import { PAGE_ROW_NAMES, pageGroups } from '../browser/rows';
import { GPU_ROW_NAMES } from '../gpu-rows';
import { type BenchOptions, optionsOf, problemsOf } from '../options';
import { PEER_NAMES, PEERS, peer, peersFor } from '../peers';
import { isKnownToPeers, type Problem } from '../problem';
import { PYTORCH, PYTORCH_NAMES, pytorch } from '../pytorch';
import { type PlannedRow, timedSuite } from '../suite';
import { attentionAlone, attentionRow, ONE_THREAD, SACCADE } from './attention-alone';

const PYTORCH_ROW = 'pytorch';

export const attentionSuite = timedSuite({
  ...attentionAlone,
  names: ({ browser, backend }) => {
    if (browser) return PAGE_ROW_NAMES;
    return backend === 'webgpu'
      ? [...GPU_ROW_NAMES, ...PYTORCH_NAMES]
      : [SACCADE, ONE_THREAD, ...PEER_NAMES, PYTORCH_ROW];
  },
  groups(options, place) {
    const { browser, peers } = place;
    const problems = problemsOf(options);
    if (browser)
      return problems.flatMap((problem) => pageGroups(browser, problem, { ...options, peers: peers !== undefined }));
    const own = attentionAlone.groups(options, place);
    return problems.map((problem, at) => [...(own[at] ?? []), ...(peers ? others(peers, options, problem) : [])]);
  },
});

/** The rows of other systems, installed in a folder, that know the problem's mask. */
function others(folder: string, options: BenchOptions, problem: Problem): PlannedRow[] {
  if (!isKnownToPeers(problem.mask.name)) return [];
  if (options.backend === 'webgpu')
    return PYTORCH_NAMES.map((name) => {
      const { how, dtype } = PYTORCH[name];
      const computed: Problem = dtype === 'f16' ? { ...problem, dtype } : problem;
      const contender = pytorch(name, folder, options);
      return { name, label: `PyTorch ${dtype}`, problem: computed, contender, how, narrow: optionsOf(problem) };
    });
  return [
    ...peersFor(problem).map((name) => {
      const { label, how } = PEERS[name];
      return attentionRow(problem, name, label, { contender: peer(name, folder, options.threads), how });
    }),
    attentionRow(problem, PYTORCH_ROW, 'PyTorch', {
      contender: pytorch(PYTORCH_ROW, folder, options),
      how: PYTORCH[PYTORCH_ROW].how,
    }),
  ];
}
