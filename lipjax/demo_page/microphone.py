# SPDX-License-Identifier: Apache-2.0
"""The microphone on the page: what gradio's recorder keeps to itself is said, and waited for.

The recorder of gradio tells nobody that there is no microphone or that it may not be used, takes
the usual one whichever is chosen, stays stuck after a recording in which there is nothing, and
needs a moment after "Stop" to hand the sound over. Where a later gradio has other elements than
these, the script does nothing.
"""

import json

PLACE = "microphone"
"""Id of the element in which the script says something."""
WORDS = {
    "NotFoundError": "there is no microphone at this computer, or none that the browser may see: "
    "connect one, or upload a sound file",
    "NotAllowedError": "the browser does not let this page use the microphone: allow it (most "
    "browsers show a sign beside the address), or upload a sound file",
    "NotReadableError": "the microphone gives no sound: does another program hold it? Else upload "
    "a sound file",
    "insecure": "browsers give a page the microphone only at http://127.0.0.1, or by https: "
    "upload a sound file instead",
    "empty": "there is no sound in that recording: record again, for a second or longer",
}
"""Name of a browser's error, or of a case of ours -> what is said."""

PATIENCE = 20
"""Seconds that the button waits for a recording that is handed over."""

_CODE = """
(() => {
  const words = WORDS, inside = selector => document.querySelector(`#sound ${selector}`);
  const say = text => {
    const place = document.getElementById('PLACE');
    if (!place) return;
    const told = document.createElement('div');
    told.className = 'told error';
    told.setAttribute('role', 'alert');
    told.textContent = text;
    place.replaceChildren(...(text ? [told] : []));
  };
  const microphone = navigator.mediaDevices;
  if (microphone) {
    const ask = microphone.getUserMedia.bind(microphone);
    microphone.getUserMedia = async wish => {
      try {
        // Which one was chosen is another thing that the recorder keeps to itself.
        const chosen = wish.audio === true && inside('.mic-select')?.value;
        const one = {...wish, audio: {deviceId: {exact: chosen}}};
        const stream = await (chosen ? ask(one).catch(error => {
          if (error.name === 'OverconstrainedError') return ask(wish);  // unplugged meanwhile
          throw error;
        }) : ask(wish));
        say('');
        return stream;
      } catch (error) {
        say(words[error.name] || `${words.NotReadableError} (${error.name})`);
        throw error;
      }
    };
  }
  // Only the recorder decodes with this one.
  const decode = OfflineAudioContext.prototype.decodeAudioData;
  OfflineAudioContext.prototype.decodeAudioData = async function (...given) {
    try {
      return await decode.apply(this, given);
    } catch (error) {
      if (recorder()) {
        const [file, record] = document.querySelectorAll(
          '#sound [data-testid="source-select"] button');
        file.click();  // and back: a fresh recorder
        setTimeout(() => record.click(), 100);
        say(words.empty);
      }
      throw error;
    }
  };
  // The recorder goes as soon as the page has its sound.
  const recorder = () => inside('[data-testid="microphone-waveform"]');
  const shown = selector => [...document.querySelectorAll(`#sound ${selector}`)].find(
    element => element.offsetParent);
  const stop = () => shown('.stop-button') || shown('.stop-button-paused');
  const handing = () => recorder() && inside('[data-testid="recording-waveform"]').hasChildNodes();
  let waited = false;
  addEventListener('click', event => {
    const pressed = event.target.closest('#sound button, #start');
    if (pressed && event.isTrusted) say('');
    if (!microphone && pressed?.matches('.record-button')) say(words.insecure);
    const busy = () => recorder() && (stop() || handing());
    if (pressed?.id !== 'start' || waited || !busy()) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    stop()?.click();
    const end = Date.now() + PATIENCE;
    const wait = setInterval(() => {
      if (busy() && Date.now() < end) return;
      clearInterval(wait);
      if (recorder() && !busy()) return;  // empty, which was said
      waited = true;
      pressed.click();
      waited = false;
    }, 100);
  }, true);
})();
"""


def script() -> str:
    """Returns what belongs into the head of the page."""
    code = _CODE.replace("WORDS", json.dumps(WORDS)).replace("PLACE", PLACE)
    return f"<script>{code.replace('PATIENCE', str(1000 * PATIENCE))}</script>"
