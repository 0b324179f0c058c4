// Other bounds, decided in the page: the law of `Recipe.against` over the columns that decision.py packed. Knows no document.
const STEPS = 500; // of a slider; its ends are "no bound"
const DIGITS = 6; // significant ones of a bound: as many as the packed values decide exactly
const OFF = { min: -Infinity, max: Infinity };

function unpack(text, Type) {
  const bytes = atob(text), out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes.charCodeAt(i);
  return new Type(out.buffer);
}

// Clips of the page, kept ones first; each stands for `clips / held` of its kind. Two kinds: as the dataset is, 0 kept and 1 rejected.
class Decision {
  constructor(kinds, fixed, seconds, scores) {
    Object.assign(this, { kinds, fixed, seconds, scores, num: fixed.length });
    this.fails = new Uint8Array(this.num);
    this.blame = new Uint16Array(this.num); // sum of the numbers of the scores that refuse a clip: the one score where `fails` is 1
    this.isSample = this.num < kinds[0].clips + kinds[1].clips;
    this.passing = new Uint32Array(this.num);
    const everyone = Uint32Array.from({ length: this.num }, (_, row) => row);
    scores.forEach((score, number) => {
      score.number = number;
      score.bad = new Uint8Array(this.num);
      score.refused = [0, 0];
      score.heldBins = this.count(score, everyone, this.num);
      this.apply(score);
    });
  }

  asks(score) {
    return score.now.min !== OFF.min || score.now.max !== OFF.max;
  }

  // Ask every clip for one score again. Without a value (NaN) a clip is refused as soon as there is a bound, unless it is asked later.
  apply(score) {
    if (!score.values) return;
    const low = Math.fround(score.now.min), high = Math.fround(score.now.max);
    const asked = this.asks(score);
    const { values, bad, number, later } = score, { fails, blame } = this, held = this.kinds[0].held, refused = [0, 0];
    for (let row = 0; row < this.num; row++) {
      const is = asked && !(values[row] >= low && values[row] <= high) && !(later && values[row] !== values[row]) ? 1 : 0, change = is - bad[row];
      if (change) {
        bad[row] = is;
        fails[row] += change;
        blame[row] += change * number;
      }
      refused[row < held ? 0 : 1] += is;
    }
    score.refused = refused;
  }

  // Clips of a list by kind and bin.
  count(score, rows, num) {
    const counts = [new Uint32Array(256), new Uint32Array(256)], { bins } = score, held = this.kinds[0].held;
    for (let i = 0; i < num; i++) counts[rows[i] < held ? 0 : 1][bins[rows[i]]]++;
    return counts;
  }

  // What is kept now: clips, seconds, the half-width of the 95% interval, by score the clips in each bin and those it alone refuses.
  tally() {
    const clips = [0, 0], seconds = [0, 0], allSeconds = [0, 0], held = this.kinds[0].held;
    const alone = this.scores.map(() => [0, 0]);
    let num = 0;
    for (let row = 0; row < this.num; row++) {
      const kind = row < held ? 0 : 1;
      allSeconds[kind] += this.seconds[row];
      if (this.fixed[row]) continue;
      if (this.fails[row] === 0) {
        clips[kind]++;
        seconds[kind] += this.seconds[row];
        this.passing[num++] = row;
      } else if (this.fails[row] === 1) alone[this.blame[row]][kind]++;
    }
    const all = (counts) => this.kinds.reduce((sum, kind, k) => sum + (kind.held ? (kind.clips * counts[k]) / kind.held : 0), 0);
    return {
      clips: Math.round(all(clips)),
      seconds: this.kinds.reduce((sum, kind, k) => sum + (allSeconds[k] ? (kind.seconds * seconds[k]) / allSeconds[k] : 0), 0),
      margin: 1.96 * Math.sqrt(this.kinds.reduce((sum, kind, k) => sum + variance(kind, clips[k]), 0)),
      alone: alone.map((counts) => Math.round(all(counts))),
      refused: this.scores.map((score) => Math.round(all(score.refused))),
      bins: this.scores.map((score) => this.estimate(score, this.count(score, this.passing, num))),
    };
  }

  // Kept clips by bin, of all: in each bin a kind's clips are kept in the share of those that the page holds.
  estimate(score, counts) {
    return score.counts[0].map((_, bin) => this.kinds.reduce((sum, _, k) => {
      const of = score.heldBins[k][bin];
      return sum + (of ? (score.counts[k][bin] * counts[k][bin]) / of : k === 0 ? score.counts[k][bin] : 0);
    }, 0));
  }
}

// Of an estimated number, from a sample without replacement.
function variance({ clips, held }, got) {
  if (held < 2 || held === clips) return 0;
  const share = got / held;
  return clips ** 2 * (1 - held / clips) * share * (1 - share) / (held - 1);
}

class Axis {
  constructor({ low, high, log }) {
    Object.assign(this, { low: Number(low), high: Number(high), log: log === "1" });
  }
  place(value) {
    const { low, high } = this;
    const at = this.log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
    return Math.min(100, Math.max(0, 100 * at));
  }
  value(percent) {
    const { low, high } = this, part = percent / 100;
    return this.log ? low * (high / low) ** part : low + (high - low) * part;
  }
  // As few digits as the sliders' steps tell apart.
  tidy(value) {
    if (this.log) return Number(value.toPrecision(3));
    return Number(value.toFixed(Math.min(20, Math.max(0, -Math.floor(Math.log10((this.high - this.low) / STEPS))))));
  }
}
