"""What the pages ask of a reader: the likeliest answers to a question about a text."""

from pathlib import Path

from ...decoding.answer_spans import Answer, answer_questions
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded


class Reader:
    """A model and its tokenizer, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer is that of another model.
    """

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForQuestionAnswering", folder)

    def answers(self, question: str, context: str, top_k: int) -> list[Answer]:
        """The likeliest answers, the empty one ("no answer") among them.

        Raises:
            UserError: no question or no text.
        """
        for name, text in (("question", question), ("text", context)):
            if not text.strip():
                raise UserError(f"the {name} is empty; type one")
        limit = self.model.config.max_position_embeddings
        return answer_questions(
            self.model, self.tokenizer, [question], [context], limit, top_k=top_k, no_answer=True
        )[0]

    def note(self, question: str, context: str) -> str:
        """What to know about how the text is read: in several windows, or with words that are unknown."""
        limit, notes = self.model.config.max_position_embeddings, []
        ids = self.tokenizer(question, context, verbose=False)["input_ids"]
        if len(ids) > limit:
            notes.append(
                f"Question and text have {len(ids)} tokens; the model read them in windows of {limit}."
            )
        if unknown := ids.count(self.tokenizer.unk_token_id):
            notes.append(f"{unknown} of the words are unknown to the model.")
        return " ".join(notes)


def load_reader(folder: Path) -> Reader:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle, or its tokenizer is that of another
            model.
    """
    return loaded(Reader, folder)
