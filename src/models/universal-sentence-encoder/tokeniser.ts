/** Text to tokens: the most likely split into the pieces of a vocabulary (SentencePiece's unigram model). */

/** A piece and its score, the logarithm of its probability; null counts as 0. Its place in the list is its token. */
export type Vocabulary = readonly (readonly [piece: string, score: number | null])[];

/** The token of characters that no piece begins with. */
const UNKNOWN = 0;
/** The first pieces are markers for control symbols and never match text. */
const MARKERS = 6;
/** Stands for a space in pieces. */
const SPACE = '\u2581';

/** A node of the tree of pieces: what follows each UTF-16 unit, and the piece that ends here, if any. */
interface Node {
  readonly next: Map<number, Node>;
  token: number;
  score: number;
}

/**
 * A tokeniser over `vocabulary` that splits as the published one of this model does: the text in Unicode form NFKC,
 * a leading space, spaces as U+2581; the sum of scores as large as can be, and of equal sums the one whose last piece
 * is shortest; characters that no piece begins with are unknown, and neighbouring unknowns one token.
 */
export function createTokeniser(vocabulary: Vocabulary): (text: string) => number[] {
  const root = pieceTree(vocabulary);
  return (text) => {
    const normalised = text.normalize('NFKC');
    if (normalised === '') return [];
    return bestSplit(root, SPACE + normalised.replaceAll(' ', SPACE));
  };
}

function pieceTree(vocabulary: Vocabulary): Node {
  const root: Node = { next: new Map(), token: -1, score: 0 };
  vocabulary.forEach(([piece, score], token) => {
    if (token < MARKERS || piece === '') return;
    let node = root;
    for (let i = 0; i < piece.length; i++) {
      const unit = piece.charCodeAt(i);
      let child = node.next.get(unit);
      if (!child) {
        child = { next: new Map(), token: -1, score: 0 };
        node.next.set(unit, child);
      }
      node = child;
    }
    node.token = token;
    node.score = score ?? 0;
  });
  return root;
}

/** Viterbi's algorithm: the best piece that ends at each position, then the way back from the end. */
function bestSplit(root: Node, text: string): number[] {
  const best = new Float64Array(text.length + 1);
  const tokens = new Int32Array(text.length + 1).fill(-1);
  const starts = new Int32Array(text.length + 1);
  const offer = (start: number, end: number, token: number, score: number) => {
    const sum = (best[start] as number) + score;
    // A sum of exactly 0 gives way to any other: the published tokeniser takes it for a position not reached yet.
    if (tokens[end] !== -1 && best[end] !== 0 && sum < (best[end] as number)) return;
    best[end] = sum;
    tokens[end] = token;
    starts[end] = start;
  };
  for (let start = 0; start < text.length; start++) {
    if (start > 0 && tokens[start] === -1) continue;
    let matched = false;
    let end = start;
    for (let node = root.next.get(text.charCodeAt(end)); node; node = node.next.get(text.charCodeAt(end))) {
      end++;
      if (node.token === -1) continue;
      offer(start, end, node.token, node.score);
      matched = true;
    }
    if (!matched) offer(start, start + 1, UNKNOWN, 0);
  }
  const split: number[] = [];
  for (let end = text.length; end > 0; end = starts[end] as number) {
    const token = tokens[end] as number;
    if (token !== UNKNOWN || split.at(-1) !== UNKNOWN) split.push(token);
  }
  return split.reverse();
}
