"""One step of a turn: a model request, from its slot to the whole message.

Begin with `_model_step`; `_model_request` is what is sent, `_response_format` checks a final text,
`_answer_correction` has it corrected once, `_own_prefixes` bounds the cached tokens that an owner sees.
"""
