"""One step of a turn: a model request, from its slot to the whole message.

Begin with `_model_step`; `_model_request` is what is sent, `_response_format` checks a final text,
`_answer_correction` has it corrected once, `_streamed_calls` sends a client its calls as they come, and
`_own_prefixes` bounds the cached tokens that an owner sees.
"""
