# SPDX-License-Identifier: Apache-2.0
"""The page of `lipjax demo`: a picture and a sound in a browser, a talking video back.

`work` makes the videos and knows no gradio; `layout` draws the page; `files` removes what
sessions leave behind; `examples` draws something to try; `server` runs it until it is ended.
"""
