"""NeMo Curator's own video pipeline over a folder, on its Ray Data backend; run by the python of its own
environment.

    <peer's python> nemo_pipeline.py <footage> <out> <encoder> <cpus> <ray's folder>

In: a folder of videos. Out: clips and their metadata in a folder, and one line of JSON: seconds from the
pipeline's start to its end, with imports, Ray's start and its end apart; how many clips it wrote, of how many
videos; at how many it failed; and how many have no motion: it measures none in pictures with a side under 256
px.

Its stages as its tutorial sets them up, with nothing that needs a GPU: read, a clip every 10 s, transcode,
motion from codec vectors, write. Motion is a score and rejects nothing, so that there is as much to write as
there is with our recipe that keeps everything. Of its encoders libopenh264 is the one for processors that it
recommends; libx264, which it does not know, takes the place of that one's name in the command it runs, all
else the same.
"""

import json
import sys
import time
from pathlib import Path
from unittest import mock

import ray
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.video.clipping.clip_extraction_stages import (
    ClipTranscodingStage,
    FixedStrideExtractorStage,
)
from nemo_curator.stages.video.filtering.motion_filter import MotionFilterStage, MotionVectorDecodeStage
from nemo_curator.stages.video.io.clip_writer import ClipWriterStage
from nemo_curator.stages.video.io.video_reader import VideoReader

STRIDE_S = 10.0
NEEDS = {"libx264": ("-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2")}  # it refuses odd sizes
SETTLE_S = 3.0  # for what Ray does after a driver has connected


class Transcoding(ClipTranscodingStage):
    """Their stage, with other words in FFmpeg's command for the encoder's name."""

    put = ("libopenh264",)

    def _run_ffmpeg_command(self, command, working_dir, clips):
        words = [word for there in command for word in (self.put if there == self.encoder else (there,))]
        super()._run_ffmpeg_command(words, working_dir, clips)


def pipeline(footage: str, out: str, encoder: str) -> Pipeline:
    """All stages with their own defaults of resources."""
    transcoding = Transcoding(encoder="libopenh264")
    transcoding.put = (encoder, *NEEDS.get(encoder, ()))
    made = Pipeline(name="cut_motion_write")
    made.add_stage(VideoReader(input_video_path=footage))
    made.add_stage(
        FixedStrideExtractorStage(
            clip_len_s=STRIDE_S, clip_stride_s=STRIDE_S, min_clip_length_s=0.5, limit_clips=0
        )
    )
    made.add_stage(transcoding)
    made.add_stage(MotionVectorDecodeStage())
    made.add_stage(MotionFilterStage(score_only=True))
    made.add_stage(
        ClipWriterStage(
            output_path=out,
            input_path=footage,
            upload_clips=True,
            dry_run=False,
            generate_embeddings=False,
            generate_previews=False,
            generate_captions=False,
        )
    )
    return made


def main(footage: str, out: str, encoder: str, cpus: str, folder: str) -> None:
    ray.init(
        num_cpus=int(cpus),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
        # As its executor asks for, which then finds Ray connected.
        runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": ""}},
    )
    made = pipeline(footage, out, encoder)
    time.sleep(SETTLE_S)
    with mock.patch.object(ray, "shutdown"):  # a Ray that was up before stays up
        start_s = time.perf_counter()
        made.run(RayDataExecutor())
        seconds = time.perf_counter() - start_s
    about = [json.loads(path.read_text()) for path in Path(out, "metas").rglob("*.json")]
    written = [path for path in Path(out, "clips").rglob("*.mp4") if path.stat().st_size]
    still = [clip for clip in about if "motion_decode" in clip.get("errors", ())]
    failed = [clip for clip in about if set(clip.get("errors", ())) - {"motion_decode"}]
    videos = len({clip["source_video"] for clip in about})
    counts = {"clips": len(written), "without_motion": len(still), "failed": len(failed), "videos": videos}
    print(json.dumps({"seconds": seconds, **counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
