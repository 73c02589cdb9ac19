/** The CPU backend: AssemblyScript kernels over one shared heap, on worker threads where the platform has them. */
import { BackendError, UnsupportedError } from '../../errors';
import type { Program } from '../../expressions/program';
import {
  type AttentionBackwardCall,
  type AttentionCall,
  type Backend,
  BINARY,
  type BinaryCall,
  type Buffer,
  type Control,
  type DepthwiseConvCall,
  type DepthwiseConvWeightsCall,
  type FocusBackwardCall,
  type FocusCall,
  type GatedDeltaRuleBackwardCall,
  type GatedDeltaRuleCall,
  type GatherCall,
  type LayerNormCall,
  type LinearAttentionBackwardCall,
  type LinearAttentionCall,
  type LinearAttentionStepCall,
  type MatmulCall,
  type MemoryReport,
  type ReluAttentionBackwardCall,
  type ReluAttentionCall,
  type ReluAttentionProblem,
  type RmsNormCall,
  ROWWISE,
  type RouteBackwardCall,
  type RouteCall,
  type RowwiseCall,
  UNARY,
  type UnaryBackwardCall,
  type UnaryCall,
} from '../backend';
import type { BlockMap } from '../block-map';
import { controlOf, inTurns } from '../turns';
import { blockMapBytes, blockMapSteps, PANEL, QUERY_TILE, writeBlockMap } from './block-map';
import { planGatedDeltaRule, planGatedDeltaRuleBackward } from './gated-delta-rule';
import { Heap, type HeapBuffer } from './heap';
import { KeptTables } from './kept-tables';
import { baseline, relaxed } from './kernels.generated';
import { planLinearAttention, planLinearAttentionBackward, planLinearAttentionStep } from './linear-attention';
import { address, DTYPE_CODES, FLOPS_PER_MICROSECOND, headsOfTask, operand, type Plan } from './operands';
import { availableThreads, Pool } from './pool';
import { hasRelaxedSimd, hasSimd } from './probe';
import { HEAP_BASE, type KernelName, type Kernels } from './schedule';
import {
  type AddressOf,
  scoreProgramBytes,
  scorePrograms,
  tablePlaces,
  tablePlacesBytes,
  tablesRead,
  writeScorePrograms,
  writeTablePlaces,
} from './score-programs';

export interface WasmOptions {
  readonly threads?: number | undefined;
  readonly simd?: 'relaxed' | 'baseline' | undefined;
}

/** Tasks as the kernels cut them (assembly/*.ts). */
const SLICE = 8;
const CHUNK_PANELS = 16;
const MATMUL_TILE_PANELS = 8;
const MATMUL_TILE_SLICES = 8;
/** Attention's backward pass has at least so many tasks, if there are keys enough. */
const BACKWARD_TASKS = 16;
/** A part of the keys has at least so many panels: each part lays out all queries anew. */
const PART_PANELS = 48;
/** Bytes of a head's largest key norm and largest value magnitude. */
const EXTREMES_BYTES = 8;
/** Of a thread's own cache, what the keys and values that a tile sees may take. */
const CACHE_BYTES = 2 ** 20;
/** And those of a head that its task packs, as it has room for (assembly/attention.ts). */
const PACKED_BYTES = 240_000;
/** And of the cache that threads share, those of a head. */
const SHARED_CACHE_BYTES = 2 ** 23;
/** A tile that sees less than this share of the keys sees them here and there. */
const SPARSE = 0.25;
/** Tasks that each thread gets at least where a task is several tiles, so that threads end together. */
const TASKS_OF_THREAD = 16;
/** Tiles of each head in a task, at most; of one head alone, those that go through blocks of keys together (assembly/attention.ts). */
const MOST_TILES = { ofAllHeads: 64, ofOneHead: 4 };
/** A block of keys (assembly/blocks.ts). */
const BLOCK_PANELS = 56;
/** Sums for the gradients by captured arrays: with more bytes, fewer threads. */
const TABLE_SUMS_BYTES = 2 ** 26;
const TABLE_RUN = 4096;
const RUN = 16384;
const ROWS = 16;
/** Twelve vectors of four lanes, two operations each. */
const PEAK_OPERATIONS_PER_ROUND = 96;

/** Rough speed of one thread, to tell small jobs from large ones. */
const ELEMENTS_PER_MICROSECOND = 500;

export class WasmBackend implements Backend {
  readonly name = 'wasm';
  readonly #tables: KeptTables;

  private constructor(
    private readonly heap: Heap,
    private readonly pool: Pool,
    private readonly facts: readonly string[],
  ) {
    this.#tables = new KeptTables(heap);
  }

  static async create({ threads: asked, simd }: WasmOptions): Promise<WasmBackend> {
    if (!hasSimd()) throw new UnsupportedError('this platform has no WebAssembly SIMD: use a current browser or Node');
    const build = simd ?? (hasRelaxedSimd() ? 'relaxed' : 'baseline');
    if (build === 'relaxed' && !hasRelaxedSimd()) {
      throw new UnsupportedError(
        "simd 'relaxed' cannot be had: this platform lacks it (Node 22 and later and current browsers have it); leave simd out or say 'baseline'",
      );
    }
    const available = availableThreads();
    if (asked !== undefined && asked > 1 && available.threads === 0) {
      throw new UnsupportedError(`${asked} threads cannot be had: ${available.reason}`);
    }
    const module = await compile(decodeBase64(build === 'relaxed' ? relaxed : baseline));
    const heap = new Heap(HEAP_BASE);
    const kernels = new WebAssembly.Instance(module, { env: { memory: heap.memory } }).exports as unknown as Kernels;
    kernels.initialise();
    const open = async (threads: number) => {
      const scratchBytes = kernels.scratchBytes();
      const scratch = heap.take((threads + 1) * scratchBytes);
      const pool = new Pool(threads, { module, memory: heap.memory, kernels, scratch, scratchBytes });
      await pool.start();
      return pool;
    };

    let reason = asked === undefined || available.threads === 0 ? available.reason : 'as asked';
    const pool = await open(available.threads && (asked ?? available.threads)).catch((error) => {
      if (!(error instanceof BackendError) || asked !== undefined) throw error;
      reason = error.message;
      return open(0);
    });
    return new WasmBackend(heap, pool, [
      'backend: wasm',
      build === 'relaxed'
        ? 'kernels: relaxed SIMD, with fused multiply-add'
        : `kernels: baseline SIMD (${simd ? 'as asked' : 'this platform has no relaxed SIMD: Node 22 and later have it'})`,
      pool.threads > 0 ? `threads: ${pool.threads} (${reason})` : `threads: 1, the calling one (${reason})`,
      `memory: up to ${heap.maximumBytes / 2 ** 20} MiB`,
    ]);
  }

  allocate(bytes: number): Buffer {
    return this.heap.allocate(bytes);
  }

  release(buffer: Buffer): void {
    this.heap.release(buffer as HeapBuffer);
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    this.#bytes(buffer, byteOffset, bytes.length).set(bytes);
  }

  async read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    return this.#bytes(buffer, byteOffset, length).slice();
  }

  view(buffer: Buffer): { readonly buffer: ArrayBufferLike; readonly byteOffset: number } {
    return { buffer: this.heap.memory.buffer, byteOffset: (buffer as HeapBuffer).address };
  }

  memory(): MemoryReport {
    return this.heap.report();
  }

  resetPeak(): void {
    this.heap.resetPeak();
  }

  explain(): readonly string[] {
    return this.facts;
  }

  dispose(): void {
    this.pool.dispose();
  }

  async peak(rounds: number): Promise<number> {
    const tasks = Math.max(1, this.pool.threads);
    const operations = PEAK_OPERATIONS_PER_ROUND * rounds;
    const microseconds = (operations * tasks) / FLOPS_PER_MICROSECOND;
    await this.pool.run({ phases: [{ kernel: 'peak', tasks }], params: [rounds, 0.5], microseconds }, {});
    return operations * tasks;
  }

  attention(call: AttentionCall, control: Control): Promise<void> {
    return this.#withBlockMap(call, control, (map, rest) => this.#attention(call, map, rest));
  }

  attentionBackward(call: AttentionBackwardCall, control: Control): Promise<void> {
    return this.#withBlockMap(call, control, (map, rest) => this.#attentionBackward(call, map, rest));
  }

  /** Runs `work`, which executes its jobs itself, with the mask's map; what is called later waits for both. */
  #withBlockMap(
    { q, v, mask }: AttentionCall,
    control: Control,
    work: (map: BlockMap, control: Control) => Promise<void>,
  ): Promise<void> {
    const [b, n, h] = q.shape as [number, number, number];
    const [, m, g] = v.shape as [number, number, number];
    return this.pool.inTurn(async () => {
      const check = () => this.pool.check(control.signal);
      check();
      const map = inTurns(blockMapSteps(mask, { b, n, m, h, g }), controlOf(control, 0, 2).onProgress, check);
      await work(await map, map instanceof Promise ? controlOf(control, 1, 2) : control);
    });
  }

  async #attention({ q, k, v, out, lse, scale, score }: AttentionCall, map: BlockMap, control: Control): Promise<void> {
    const [b, n, h, d] = q.shape as [number, number, number, number];
    const [, m, g, e] = v.shape as [number, number, number, number];
    const modifier = scorePrograms(score, { b, n, m, h, g });
    const slots = map.panels * PANEL;
    const cut = cutAttention(map, { b, h, g, d, e }, Math.max(1, this.pool.threads));
    const packed = cut.packsItself ? 0 : b * g * slots * 4;
    const chunks = Math.ceil(map.panels / CHUNK_PANELS);
    const scratch = {
      map: blockMapBytes(map),
      programs: scoreProgramBytes(modifier),
      keys: packed * d,
      values: packed * inSlices(e),
      extremes: b * g * EXTREMES_BYTES,
    };
    await this.#withScores(modifier, scratch, ({ map: at, programs, keys, values, extremes }, addressOf) => {
      new Uint8Array(this.heap.memory.buffer, extremes, scratch.extremes).fill(0);
      return this.pool.execute(
        {
          phases: [
            ...(cut.packsItself ? [] : [{ kernel: 'packKeysValues', tasks: b * chunks } as const]),
            { kernel: 'attention', tasks: cut.tasks },
          ],
          params: [
            ...[b, n, m, h, g, d, e, scale],
            ...writeBlockMap(map, this.heap.memory, at),
            ...writeScorePrograms(modifier, this.heap.memory, programs, addressOf),
            ...[q, k, v].flatMap(operand),
            ...[address(out), DTYPE_CODES[out.dtype] as number, address(lse)],
            ...(cut.packsItself ? [0, 0] : [keys, values]),
            ...[extremes, cut.tilesOfTask, Number(cut.takesAllHeads), cut.headsOfTask, cut.rangePanels],
          ],
          microseconds: (2 * (d + e) * map.visited * QUERY_TILE * PANEL) / FLOPS_PER_MICROSECOND,
        },
        control,
      );
    });
  }

  async #attentionBackward(call: AttentionBackwardCall, map: BlockMap, control: Control): Promise<void> {
    const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables, scale, score } = call;
    const [b, n, h, d] = q.shape as [number, number, number, number];
    const [, m, g, e] = v.shape as [number, number, number, number];
    const modifier = scorePrograms(score, { b, n, m, h, g });
    const slots = map.panels * PANEL;
    const [columnsOfK, columnsOfV] = [inSlices(d), inSlices(e)];
    const parts = Math.min(Math.ceil(map.panels / PART_PANELS), Math.ceil(BACKWARD_TASKS / (b * g)));
    const places = score && gradTables ? tablePlaces(score, { b, n, m, h, g }) : [];
    const elements = gradTables?.size ?? 0;
    const groups = Math.min(b * g * parts, Math.max(1, Math.floor(TABLE_SUMS_BYTES / (elements * 8))));
    const scratch = {
      map: blockMapBytes(map),
      programs: scoreProgramBytes(modifier),
      keyPanels: b * g * slots * d * 4,
      keySlices: b * g * slots * columnsOfK * 4,
      valuePanels: b * g * slots * e * 4,
      sumsQ: (parts * b * h * map.tiles * QUERY_TILE * d + 4) * 4,
      sumsK: b * g * slots * columnsOfK * 4,
      sumsV: b * g * slots * columnsOfV * 4,
      places: tablePlacesBytes(places),
      sumsOfTables: places.length && groups * elements * 8,
    };
    const all = [...modifier, ...places.flatMap(({ programs }) => programs)];
    await this.#withScores(all, scratch, ({ map: at, programs, ...work }, addressOf) => {
      writeTablePlaces(places, this.heap.memory, work.places, addressOf);
      return this.pool.execute(
        {
          phases: [
            { kernel: 'backwardPack', tasks: b * g * Math.ceil(map.panels / CHUNK_PANELS) },
            { kernel: 'attentionBackward', tasks: places.length ? groups : b * g * parts, main: true },
            { kernel: 'backwardReduce', tasks: b * h * map.tiles },
            ...(places.length ? [{ kernel: 'backwardTables', tasks: Math.ceil(elements / TABLE_RUN) } as const] : []),
          ],
          params: [
            ...[b, n, m, h, g, d, e, scale],
            ...writeBlockMap(map, this.heap.memory, at),
            ...writeScorePrograms(modifier, this.heap.memory, programs, addressOf),
            ...[q, k, v, out, gradOut].flatMap(operand),
            ...[address(lse), gradLse ? address(gradLse) : 0],
            ...[gradQ, gradK, gradV].flatMap((x) => [address(x), DTYPE_CODES[x.dtype] as number]),
            ...[work.keyPanels, work.keySlices, work.valuePanels, work.sumsQ, work.sumsK, work.sumsV, parts],
            ...[work.places, places.length, work.sumsOfTables, elements, groups, gradTables ? address(gradTables) : 0],
          ],
          microseconds: ((6 * d + 4 * e) * map.visited * QUERY_TILE * PANEL) / FLOPS_PER_MICROSECOND,
        },
        control,
      );
    });
  }

  gatedDeltaRule(call: GatedDeltaRuleCall, control: Control): Promise<void> {
    return this.#runPlan(planGatedDeltaRule(call, this.pool.threads || 1), control);
  }

  gatedDeltaRuleBackward(call: GatedDeltaRuleBackwardCall, control: Control): Promise<void> {
    return this.#runPlan(planGatedDeltaRuleBackward(call, this.pool.threads || 1), control);
  }

  linearAttention(call: LinearAttentionCall, control: Control): Promise<void> {
    return this.#runPlan(planLinearAttention(call, this.heap.memory, this.pool.threads || 1), control);
  }

  linearAttentionBackward(call: LinearAttentionBackwardCall, control: Control): Promise<void> {
    return this.#runPlan(planLinearAttentionBackward(call, this.heap.memory, this.pool.threads || 1), control);
  }

  linearAttentionStep(call: LinearAttentionStepCall, control: Control): Promise<void> {
    return this.#runPlan(planLinearAttentionStep(call, this.heap.memory), control);
  }

  async matmul({ a, b, out }: MatmulCall, control: Control): Promise<void> {
    const [rows, depth] = a.shape as [number, number];
    const columns = b.shape[1] as number;
    const panels = Math.ceil(rows / PANEL);
    const slices = Math.ceil(columns / SLICE);
    const scratch = { packedA: panels * PANEL * depth * 4, packedB: slices * SLICE * depth * 4 };
    await this.#withScratch(scratch, ({ packedA, packedB }) =>
      this.pool.run(
        {
          phases: [
            { kernel: 'packPanels', tasks: panels },
            { kernel: 'packSlices', tasks: slices },
            {
              kernel: 'matmul',
              tasks: Math.ceil(panels / MATMUL_TILE_PANELS) * Math.ceil(slices / MATMUL_TILE_SLICES),
            },
          ],
          params: [
            ...[rows, depth, columns],
            ...[a, b].flatMap((x) => [address(x), ...x.strides]),
            ...[address(out), packedA, packedB],
          ],
          microseconds: (2 * rows * depth * columns) / FLOPS_PER_MICROSECOND,
        },
        control,
      ),
    );
  }

  layerNorm({ x, gain, bias, out, epsilon }: LayerNormCall, control: Control): Promise<void> {
    const columns = gain.size;
    const rows = x.size / columns;
    const params = [rows, columns, ...[x, gain, bias, out].map(address), epsilon];
    return this.#runOverElements('layerNorm', Math.ceil(rows / ROWS), params, x.size, control);
  }

  rowwise({ operation, x, out }: RowwiseCall, control: Control): Promise<void> {
    const [rows, columns] = x.shape as [number, number];
    const params = [ROWWISE.indexOf(operation), rows, columns, address(x), address(out)];
    return this.#runOverElements('rowwise', Math.ceil(rows / ROWS), params, x.size, control);
  }

  unary({ operation, exponent, x, out }: UnaryCall, control: Control): Promise<void> {
    const params = [UNARY.indexOf(operation), exponent, x.size, address(x), 0, address(out)];
    return this.#runOverElements('unary', Math.ceil(x.size / RUN), params, x.size, control);
  }

  unaryBackward({ operation, exponent, x, gradOut, out }: UnaryBackwardCall, control: Control): Promise<void> {
    const params = [UNARY.indexOf(operation), exponent, x.size, ...[x, gradOut, out].map(address)];
    return this.#runOverElements('unaryBackward', Math.ceil(x.size / RUN), params, x.size, control);
  }

  binary({ operation, a, b, stretch, out }: BinaryCall, control: Control): Promise<void> {
    const params = [BINARY.indexOf(operation), a.size, b.size, stretch, ...[a, b, out].map(address)];
    return this.#runOverElements('binary', Math.ceil(a.size / RUN), params, a.size, control);
  }

  gather({ table, indices, out }: GatherCall, control: Control): Promise<void> {
    const rows = indices.size;
    const params = [rows, table.shape[1] as number, ...[table, indices, out].map(address)];
    return this.#runOverElements('gather', Math.ceil(rows / ROWS), params, out.size, control);
  }

  rmsNorm({ x, gradOut, out, epsilon, offset }: RmsNormCall, control: Control): Promise<void> {
    const [rows, columns] = x.shape as [number, number];
    const params = [rows, columns, address(x), gradOut ? address(gradOut) : 0, address(out), epsilon, offset];
    return this.#runOverElements('rmsNorm', Math.ceil(rows / ROWS), params, x.size, control);
  }

  reluAttention({ out, ...problem }: ReluAttentionCall, control: Control): Promise<void> {
    return this.#runReluAttention(problem, [address(out), 0, 0, 0, 0], control);
  }

  reluAttentionBackward(call: ReluAttentionBackwardCall, control: Control): Promise<void> {
    const { gradOut, gradQ, gradK, gradV, ...problem } = call;
    return this.#runReluAttention(problem, [0, ...[gradOut, gradQ, gradK, gradV].map(address)], control);
  }

  #runReluAttention(problem: ReluAttentionProblem, results: number[], control: Control): Promise<void> {
    const { q, k, v, block, causal, scale } = problem;
    const [b, n, h, d] = q.shape as [number, number, number, number];
    const [g, e] = [k.shape[2] as number, v.shape[3] as number];
    const params = [n, h, g, d, e, block, Number(causal), scale, ...[q, k, v].map(address), ...results];
    const elements = b * n * h * Math.min(n, block) * (d + e);
    return this.#runOverElements('reluAttention', b * g * Math.ceil(n / block), params, elements, control);
  }

  depthwiseConv({ x, weight, bias, out, dilation, flipped }: DepthwiseConvCall, control: Control): Promise<void> {
    const [b, rows, columns, channels] = x.shape as [number, number, number, number];
    const taps = weight.shape.slice(0, 2) as [number, number];
    const addresses = [address(x), address(weight), bias ? address(bias) : 0, address(out)];
    const params = [rows, columns, channels, ...taps, ...dilation, Number(flipped), b, ...addresses];
    return this.#runOverElements('depthwiseConv', b * rows, params, x.size * taps[0] * taps[1], control);
  }

  depthwiseConvWeights({ x, gradOut, out, dilation }: DepthwiseConvWeightsCall, control: Control): Promise<void> {
    const [b, rows, columns, channels] = x.shape as [number, number, number, number];
    const taps = out.shape.slice(0, 2) as [number, number];
    const params = [rows, columns, channels, ...taps, ...dilation, 0, b, address(x), address(gradOut), 0, address(out)];
    return this.#runOverElements('depthwiseWeights', taps[0] * taps[1], params, x.size * taps[0] * taps[1], control);
  }

  route({ logits, bank, out }: RouteCall, control: Control): Promise<void> {
    const params = [out.size, bank.size, ...[logits, bank, out].map(address)];
    return this.#runOverElements('route', Math.ceil(out.size / ROWS), params, logits.size, control);
  }

  routeBackward(call: RouteBackwardCall, control: Control): Promise<void> {
    const { logits, bank, gradOut, gradLogits, gradBank } = call;
    const phases = [
      { kernel: 'routeLogits', tasks: Math.ceil(gradOut.size / ROWS) },
      { kernel: 'routeBank', tasks: bank.size },
    ] as const;
    const addresses = [address(logits), address(bank), 0, ...[gradOut, gradLogits, gradBank].map(address)];
    const microseconds = (logits.size * bank.size) / ELEMENTS_PER_MICROSECOND;
    return this.pool.run({ phases, params: [gradOut.size, bank.size, ...addresses], microseconds }, control);
  }

  focus({ x, exponents, out }: FocusCall, control: Control): Promise<void> {
    const params = [...(x.shape as [number, number]), ...[x, exponents, out].map(address)];
    return this.#runOverElements('focus', Math.ceil(exponents.size / ROWS), params, x.size, control);
  }

  focusBackward(call: FocusBackwardCall, control: Control): Promise<void> {
    const { x, exponents, gradOut, gradX, gradExponents } = call;
    const addresses = [address(x), address(exponents), 0, ...[gradOut, gradX, gradExponents].map(address)];
    const params = [...(x.shape as [number, number]), ...addresses];
    return this.#runOverElements('focusBackward', Math.ceil(exponents.size / ROWS), params, x.size, control);
  }

  #runOverElements(kernel: KernelName, tasks: number, params: number[], elements: number, control: Control) {
    const microseconds = elements / ELEMENTS_PER_MICROSECOND;
    return this.pool.run({ phases: [{ kernel, tasks }], params, microseconds }, control);
  }

  #runPlan({ bytes, jobs, check }: Plan, control: Control): Promise<void> {
    return this.#withScratch(bytes, async (addresses) => {
      const planned = jobs(addresses);
      for (const [index, job] of planned.entries()) {
        await this.pool.run(job, controlOf(control, index, planned.length));
      }
      check?.(addresses);
    });
  }

  /** As `#withScratch`; besides, `work` learns where the tables lie that programs read. */
  #withScores<Name extends string>(
    programs: readonly Program[],
    bytes: Readonly<Record<Name, number>>,
    work: (addresses: Record<Name, number>, addressOf: AddressOf) => Promise<void>,
  ): Promise<void> {
    return this.#tables.during(tablesRead(programs), (addressOf) =>
      this.#withScratch(bytes, (addresses) => work(addresses, addressOf)),
    );
  }

  /** Runs `work` with working memory of the given sizes, by name; it gets the addresses. */
  async #withScratch<Name extends string>(
    bytes: Readonly<Record<Name, number>>,
    work: (addresses: Record<Name, number>) => Promise<void>,
  ): Promise<void> {
    const buffers: HeapBuffer[] = [];
    const addresses = {} as Record<Name, number>;
    try {
      for (const name of Object.keys(bytes) as Name[]) {
        const buffer = this.heap.allocate(bytes[name]);
        buffers.push(buffer);
        addresses[name] = buffer.address;
      }
      await work(addresses);
    } finally {
      for (const buffer of buffers) this.heap.release(buffer);
    }
  }

  #bytes(buffer: Buffer, byteOffset: number, length: number): Uint8Array {
    return new Uint8Array(this.heap.memory.buffer, (buffer as HeapBuffer).address + byteOffset, length);
  }
}

/** The kernels as they were built compile wherever they are allowed to. */
async function compile(kernels: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(kernels);
  } catch (error) {
    throw new UnsupportedError(
      `WebAssembly is not allowed here: a content security policy must have 'wasm-unsafe-eval' in its script-src, or use backend 'webgpu' (${(error as Error).message})`,
    );
  }
}

/** How attention is cut: into tasks, which changes no bits, and each tile's keys into parts, which follow from the shapes. */
function cutAttention(
  { tiles, panels, visited }: BlockMap,
  { b, h, g, d, e }: Readonly<Record<'b' | 'h' | 'g' | 'd' | 'e', number>>,
  threads: number,
) {
  // Where tiles see keys here and there, and those of one stay in a thread's cache, a task is some tiles of all heads;
  // else one of one head or, where its keys outgrow the cache that threads share, some that go through them together.
  const panelsOfTile = visited / (b * h * tiles);
  const bytesOf = (count: number) => count * PANEL * (d + inSlices(e)) * 4;
  const isNear = bytesOf(panelsOfTile) < CACHE_BYTES && panelsOfTile < SPARSE * panels;
  const share = (all: number) => Math.floor(all / (TASKS_OF_THREAD * threads));
  const takesAllHeads = isNear && share(tiles) > 0;
  const most = takesAllHeads ? MOST_TILES.ofAllHeads : bytesOf(panels) > SHARED_CACHE_BYTES ? MOST_TILES.ofOneHead : 1;
  const tilesOfTask = Math.min(most, Math.max(1, share(takesAllHeads ? tiles : b * h * tiles)));
  // Short sequences are a task by heads, which packs what it needs, so that nothing goes through memory twice.
  const longest = Math.max(panels, (tiles * QUERY_TILE) / PANEL);
  const packsItself = !takesAllHeads && bytesOf(longest) <= PACKED_BYTES && share(b * g) > 0;
  const heads = headsOfTask(b * g, threads);
  // Parts of the keys, of even size, in which a tile sees about a block.
  const ranges = isNear ? 1 : Math.ceil(panelsOfTile / BLOCK_PANELS);
  return {
    ...{ takesAllHeads, packsItself, tilesOfTask, headsOfTask: heads },
    tasks: packsItself ? Math.ceil((b * g) / heads) : Math.ceil(tiles / tilesOfTask) * (takesAllHeads ? 1 : b * h),
    rangePanels: Math.ceil(panels / Math.max(1, ranges)),
  };
}

const inSlices = (columns: number): number => Math.ceil(columns / SLICE) * SLICE;

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
