// Records the microphone.

/** Starts a recording. Returns a function that ends it and gives the file. */
export async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({
    // The sound as it is: the browser's own denoiser would leave nothing to do.
    audio: { channelCount: 1, noiseSuppression: false, echoCancellation: false, autoGainControl: false },
  });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start(1000);
  return async () => {
    recorder.stop();
    await ended;
    for (const track of stream.getTracks()) track.stop();
    const type = recorder.mimeType || "audio/webm";
    return new File(parts, `recording.${type.includes("mp4") ? "m4a" : type.includes("ogg") ? "ogg" : "webm"}`, { type });
  };
}
