import 'katex/dist/katex.css';
import './page';
import './example';
