/** All papers, a file each. The build collects them into `papers.generated.ts` (`scripts/build-papers.ts`). */
import { FAMILIES, type Paper } from './paper';
import { files } from './papers.generated';

export { FAMILIES, type Family, type Paper } from './paper';

/** A paper of the list. */
export interface ListedPaper extends Paper {
  /** The name of its file, of its picture, and of its experiment's folder. */
  readonly id: string;
  readonly year: number;
}

/** By family, and in a family by date. */
export const papers: readonly ListedPaper[] = Object.keys(FAMILIES).flatMap((family) =>
  Object.entries<Paper>(files)
    .filter(([, paper]) => paper.family === family)
    .map(([id, paper]) => ({ id, year: 2000 + Number(paper.arxiv.slice(0, 2)), ...paper }))
    .sort((a, b) => a.arxiv.localeCompare(b.arxiv)),
);
