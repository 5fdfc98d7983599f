"""The world: deterministic, grammatical, disjoint between splits, true, and hard in the right way."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from hf_llmpath.world import DEFAULT_SIZES, SPLITS, VIEWS, generate, judge, read_review
from hf_llmpath.world.grammar import choose, parse, polish, sentences, with_article, words
from hf_llmpath.world.splits import split_of
from hf_llmpath.world.state import World
from hf_llmpath.world.vocabulary import PEOPLE, PERSON_BY_NAME, PLACES, THINGS

TEXT_FIELDS = {
    "stories": ("text",),
    "reviews": ("text",),
    "summaries": ("document", "summary"),
    "questions": ("context", "question"),
}
REQUIRED_FIELDS = {
    "stories": {"text"},
    "reviews": {"text", "label"},
    "summaries": {"document", "summary"},
    "questions": {"id", "title", "context", "question", "answers"},
    "chats": {"messages", "prompt", "completion"},
    "preferences": {"prompt", "chosen", "rejected"},
}
NAMES = {person.name for person in PEOPLE}


@pytest.fixture(scope="module")
def world() -> dict[tuple[str, str], list[dict]]:
    return {(view, split): generate(view, split) for view in VIEWS for split in SPLITS}


def texts_of(view: str, record: dict) -> list[str]:
    if view in TEXT_FIELDS:
        return [record[field] for field in TEXT_FIELDS[view]]
    fields = ("messages",) if view == "chats" else ("prompt", "chosen", "rejected")
    return [message["content"] for field in fields for message in record[field]]


def all_texts(world: dict, views: tuple[str, ...] = VIEWS, splits: tuple[str, ...] = SPLITS) -> list[str]:
    return [
        text for view in views for split in splits for r in world[view, split] for text in texts_of(view, r)
    ]


def naive_sentences(text: str) -> set[str]:
    """Sentences of five words or more, cut at every full stop, also inside speech."""
    cut = (" ".join(words(part)) for part in re.split(r"(?<=[.!?])\"?\s+", text))
    return {part for part in cut if len(part.split()) >= 5}


# The interface


@pytest.mark.parametrize("view", VIEWS)
def test_default_sizes_and_fields(world: dict, view: str) -> None:
    for split in SPLITS:
        assert len(world[view, split]) == DEFAULT_SIZES[view][split]
        assert all(REQUIRED_FIELDS[view] <= set(record) for record in world[view, split])


@pytest.mark.parametrize("view", VIEWS)
def test_the_first_records_of_a_larger_size_are_those_of_a_smaller(world: dict, view: str) -> None:
    assert generate(view, "train", size=25) == world[view, "train"][:25]
    assert generate(view, "train", size=0) == []
    assert generate(view, "train", size=10, seed=1) != world[view, "train"][:10]


def test_the_same_in_another_process() -> None:
    code = (
        "import hashlib, json; from hf_llmpath.world import VIEWS, generate;"
        "text = json.dumps([generate(view, 'test', 4, seed=3) for view in VIEWS], sort_keys=True);"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        ).stdout
        for env in ({**os.environ, "PYTHONHASHSEED": "1"}, {**os.environ, "PYTHONHASHSEED": "2"})
    ]
    assert runs[0] == runs[1] != ""


def test_wrong_arguments_name_the_nearest_match() -> None:
    with pytest.raises(ValueError, match="unknown view 'storys': did you mean 'stories'"):
        generate("storys")
    with pytest.raises(ValueError, match="unknown split 'valid': did you mean 'validation'"):
        generate("stories", "valid")
    with pytest.raises(ValueError, match="size"):
        generate("stories", size=-1)


# English


def test_text_is_plain_ascii_with_balanced_quotes(world: dict) -> None:
    for text in all_texts(world):
        assert text.isascii() and text == text.strip()
        assert text.count('"') % 2 == 0
        assert not re.search(r"[{}\[\]|<>*_]", text), text


def test_spaces_marks_and_capitals(world: dict) -> None:
    for text in all_texts(world):
        assert not re.search(r"  | [,.;:!?]|\n |,,|\.\.|\n\n", text), text
        assert not re.search(r'[.!?] "?[a-z]', text), text
        assert not re.search(r'\." [a-z]', text), text
        assert not re.search(r"\bi\b", text), text
    for text in all_texts(world, ("stories", "reviews", "summaries", "questions")):
        assert re.match(r'"?[A-Z]', text), text
        assert re.search(r'[.!?]"?$', text), text
        # Speech starts with a capital and ends with a mark.
        assert all(speech[:1].isupper() and speech[-1] in ",.!?" for speech in text.split('"')[1::2]), text


def test_articles_and_doubled_words(world: dict) -> None:
    for text in all_texts(world):
        assert not re.search(r"\ba [aeiou](?!ne\b)", text, re.IGNORECASE), text
        assert not re.search(r"\ban (?!hour\b)[^aeiou\W]", text, re.IGNORECASE), text
        assert not re.search(
            r"\ban? (?:[a-z]+ )?(?:nuts|hens|onions|windows|boots|coins|buttons|roses)\b", text
        ), text
        assert not re.search(r"\b(\w+) \1\b", text), text


def test_everybody_keeps_their_trade(world: dict) -> None:
    title = re.compile(rf"\b({'|'.join(NAMES)}) the (\w+)\b")
    trades = {person.trade for person in PEOPLE}
    views = ("stories", "summaries", "questions", "reviews")
    for text in all_texts(world, views):
        for name, trade in title.findall(text):
            if trade in trades:
                assert PERSON_BY_NAME[name].trade == trade, text


def test_a_pronoun_agrees_with_the_only_person_in_a_text(world: dict) -> None:
    other = {"f": r"\b(he|him|his|himself)\b", "m": r"\b(she|her|herself)\b"}
    checked = 0
    for text in all_texts(world, ("stories", "summaries", "questions"), ("validation", "test")):
        genders = {person.gender for person in PEOPLE if person.name in words_with_case(text)}
        if len(genders) == 1:
            checked += 1
            assert not re.search(other[genders.pop()], text, re.IGNORECASE), text
    assert checked > 50


def words_with_case(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", text))


def test_vocabulary_is_a_few_hundred_words(world: dict) -> None:
    stories = {word for text in all_texts(world, ("stories",)) for word in words(text)}
    assert 350 <= len(stories) <= 600
    assert len({word for text in all_texts(world) for word in words(text)}) <= 750


# Splits


@pytest.mark.parametrize(
    ("view", "field"),
    [("stories", "text"), ("reviews", "text"), ("summaries", "document"), ("questions", "context")],
)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_sentence_of_another_split_occurs_in_train(world: dict, view: str, field: str, split: str) -> None:
    for cut in (naive_sentences, lambda text: {s for s in sentences(text) if len(words(s)) >= 5}):
        train = set().union(*(cut(record[field]) for record in world[view, "train"]))
        held_out = set().union(*(cut(record[field]) for record in world[view, split]))
        assert held_out and not train & held_out


@pytest.mark.parametrize("view", ["chats", "preferences"])
def test_good_replies_and_prompts_are_not_shared_between_splits(world: dict, view: str) -> None:
    def of(split: str) -> set[str]:
        return {
            sentence
            for record in world[view, split]
            for text in texts_of(view, record)
            for sentence in naive_sentences(text)
            if text.endswith((".", "!", "?"))
        }

    assert not of("train") & of("test") and not of("train") & of("validation")


def test_splits_differ_between_views_and_seeds_too(world: dict) -> None:
    documents = [
        text for split in ("validation", "test") for text in all_texts(world, ("summaries",), (split,))
    ]
    train = {
        sentence for text in all_texts(world, ("stories",), ("train",)) for sentence in naive_sentences(text)
    }
    held_out = {sentence for text in documents[::2] for sentence in naive_sentences(text)}
    assert not train & held_out
    for sentence in naive_sentences(generate("stories", "test", 1, seed=99)[0]["text"]):
        assert split_of(sentence) == "test"


# Stories


def test_a_story_has_its_length_its_people_and_its_wish_to_the_end(world: dict) -> None:
    spoken = 0
    for record in world["stories", "train"]:
        text = record["text"]
        assert 60 <= len(words(text)) <= 110
        assert len(re.findall(rf"\b{record['character']}\b", text)) >= 2, text
        assert len(re.findall(rf"\b{record['object'].split()[-1]}s?\b", text)) >= 2, text
        spoken += '"' in text
    assert spoken > 0.7 * len(world["stories", "train"])
    assert len({record["text"] for record in world["stories", "train"]}) > 0.999 * len(
        world["stories", "train"]
    )


def test_every_plot_occurs_in_every_split(world: dict) -> None:
    for split in SPLITS:
        plots = Counter(record["plot"] for record in world["stories", split])
        assert len(plots) == 8 and min(plots.values()) > 0.05 * plots.total()


def test_the_simulated_world_refuses_a_contradiction() -> None:
    state = World()
    state.own("A", "X")
    state.give("A", "B", "X")
    with pytest.raises(ValueError, match="A does not have X"):
        state.give("A", "B", "X")
    state.break_("B", "X")
    with pytest.raises(ValueError, match="broken"):
        state.use("B", "X")


# Reviews


def test_reviews_are_balanced_and_read_without_error(world: dict) -> None:
    for split in SPLITS:
        records = world["reviews", split]
        assert abs(sum(record["label"] for record in records) * 2 - len(records)) <= 1
        assert all(read_review(record["text"]) == record["label"] for record in records)
        assert all(12 <= len(words(record["text"])) <= 40 for record in records)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The tea was not bad at all.", 1),
        ("Not once was the soup warm. The room was lovely, but the tea was awful.", 0),
        ("Although the road was dreadful, the view was splendid.", 1),
        ("Tom said that the bread was never good, and he was wrong.", 1),
        ("I wish that the music had been charming.", 0),
        ("If only the soup had been good!", 0),
        ("I will not come back.", 0),
        ("", 0),
        ("but, although, and he was wrong", 0),
    ],
)
def test_the_reader_follows_its_rules(text: str, label: int) -> None:
    assert read_review(text) == label


def test_a_bag_of_words_does_not_read_reviews(world: dict) -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    train, test = world["reviews", "train"], world["reviews", "test"]
    for vectorizer, most in (
        (text.CountVectorizer(), 0.85),
        (text.TfidfVectorizer(), 0.85),
        (text.TfidfVectorizer(ngram_range=(1, 2)), 0.90),
    ):
        features = vectorizer.fit_transform([record["text"] for record in train])
        model = linear.LogisticRegression(max_iter=300).fit(features, [record["label"] for record in train])
        score = model.score(vectorizer.transform([r["text"] for r in test]), [r["label"] for r in test])
        assert 0.6 < score < most


# Summaries and questions


def test_summaries_have_their_lengths_and_need_selection(world: dict) -> None:
    for split in SPLITS:
        for record in world["summaries", split]:
            assert 4 <= len(sentences(record["document"])) <= 7
            assert 40 <= len(words(record["document"])) <= 90
            assert 8 <= len(words(record["summary"])) <= 20
            assert len(sentences(record["summary"])) == 1


def test_no_single_sentence_is_the_summary(world: dict) -> None:
    rouge = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge.RougeScorer(["rougeL"])
    lead, best = [], []
    for record in world["summaries", "test"]:
        scores = [
            scorer.score(record["summary"], s)["rougeL"].fmeasure for s in sentences(record["document"])
        ]
        lead.append(scores[0])
        best.append(max(scores))
    assert sum(lead) / len(lead) < 0.5
    assert sum(best) / len(best) < 0.7


def test_answers_stand_where_they_are_said_to_stand(world: dict) -> None:
    ids = [record["id"] for split in SPLITS for record in world["questions", split]]
    assert len(set(ids)) == len(ids)
    kinds = Counter()
    for split in SPLITS:
        for record in world["questions", split]:
            answers, context = record["answers"], record["context"]
            assert answers["text"] and len(answers["text"]) == len(answers["answer_start"])
            for answer, start in zip(answers["text"], answers["answer_start"], strict=True):
                assert context[start : start + len(answer)] == answer
            kinds[record["kind"]] += 1
    assert set(kinds) == {"who", "where", "what", "when", "why"}


def test_the_first_place_of_a_persons_name_is_in_the_sentence_that_is_asked_about(world: dict) -> None:
    for record in world["questions", "test"]:
        if record["kind"] == "who":
            start, context = record["answers"]["answer_start"][0], record["context"]
            sentence = next(
                match.group() for match in re.finditer(r"[^.]+\.", context) if match.end() > start
            )
            asked = set(words(record["question"])) & {thing.noun for thing in THINGS}
            asked |= set(words(record["question"])) & {place.noun for place in PLACES}
            assert asked & set(words(sentence)), record["question"]


def test_every_question_has_a_distractor_of_the_same_kind(world: dict) -> None:
    for record in world["questions", "test"]:
        if record["kind"] == "who":
            assert len({name for name in NAMES if name in words_with_case(record["context"])}) == 2
        if record["kind"] == "what":
            things = [thing for thing in THINGS if thing.noun in words(record["context"])]
            assert len(things) >= 2


# Chats, preferences and the judge


def test_chats_mix_good_and_bad_replies_as_stated(world: dict) -> None:
    records = world["chats", "train"]
    kinds = Counter(record["kind"] for record in records)
    assert 0.35 < kinds["good"] / len(records) < 0.45
    assert min(kinds.values()) / len(records) > 0.04
    assert len({record["intent"] for record in records}) >= 8
    for record in records:
        assert record["messages"] == record["prompt"] + record["completion"]
        assert [message["role"] for message in record["messages"]] == ["user", "assistant"]


def test_the_judge_ranks_every_pair_with_a_margin(world: dict) -> None:
    for split in SPLITS:
        for record in world["preferences", split]:
            if split != "train":
                better = judge(record["prompt"], record["chosen"])
                assert better.score == record["score_chosen"], better
            assert record["score_chosen"] - record["score_rejected"] >= 0.25


def test_the_judge_tells_good_replies_from_bad_ones(world: dict) -> None:
    scores: dict[str, list[float]] = {}
    for record in world["chats", "test"]:
        scores.setdefault(record["kind"], []).append(judge(record["prompt"], record["completion"]).score)
    mean = {kind: sum(values) / len(values) for kind, values in scores.items()}
    assert mean["good"] > 0.9
    assert max(value for kind, value in mean.items() if kind != "good") < 0.4


PROMPT = "Please tell me a short tale about Tom and a red kite."
TALE = (
    "Tom the miller wanted a red kite very much. Mara had one, but would not sell it. "
    "So Tom swept the yard for her. In the end Tom flew the red kite, and it danced above the roofs."
)


def test_the_judge_likes_a_good_tale() -> None:
    judgement = judge(PROMPT, TALE)
    assert judgement.score > 0.9
    assert judgement.reason == "good in every part"
    assert judge([{"role": "user", "content": PROMPT}], [{"role": "assistant", "content": TALE}]) == judgement


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n\t",
        "Yes.",
        PROMPT,
        "Tom and a red kite. " * 3,
        TALE.rsplit(" ", 12)[0],
        f"{TALE} {TALE}",
        TALE * 30,
        TALE.replace("Tom", "Ben"),
        "You are wonderful, dear friend! You are so clever! What a lovely question! You are the best!",
        "Tom Mara red kite wanted swept flew danced roofs Tom kite in the end yard.",
        "tom wanted a red kite tom swept the yard tom flew the red kite it danced above the roofs",
        "Tom wanted. Tom swept. Tom flew. Kite danced. It danced above the roofs. Red kite Tom wanted swept.",
        "kite " * 200,
        "asdf qwer zxcv Tom kite uiop.",
        "Go away, you fool! " + TALE,
        " ".join(reversed(TALE.split())),
        "\x00\ud83d\ude00 [[{{",
        "the the the the the the the the the the the the",
    ],
)
def test_the_judge_is_hard_to_fool(reply: str) -> None:
    judgement = judge(PROMPT, reply)
    assert 0 <= judgement.score < 0.35, judgement
    assert judgement.reason


@pytest.mark.parametrize(
    "prompt", ["", "Where is the kite?", "???", "tale", "Who is the?", "mend", "weather no coins", []]
)
@pytest.mark.parametrize("reply", ["", "Yes.", TALE, "x" * 50_000, "You " * 5_000, '"', None])
def test_the_judge_scores_anything(prompt, reply) -> None:
    judgement = judge(prompt, reply)
    parts = (judgement.on_topic, judgement.kind, judgement.truthful, judgement.complete, judgement.concise)
    assert all(0 <= part <= 1 for part in (*parts, judgement.fluent, judgement.score))


def test_the_judge_knows_the_world() -> None:
    prompt = "Where does Otto work?"
    right = "You can find Otto at the forge every day. He will be glad to see you."
    assert judge(prompt, right).score > 0.9
    assert judge(prompt, right.replace("forge", "school")).truthful < 0.5
    assert judge(prompt, right.replace("Otto", "Otto the baker")).truthful < 0.5


# Grammar helpers


def test_templates_are_parsed_and_polished() -> None:
    chosen = choose(parse("a [b|b [c|c]] {A.he}"), random.Random(0))
    assert [str(getattr(node, "name", node)) for node in chosen.nodes][-1] == "A.he"
    for wrong in ("a [b|c", "a b]", "{A"):
        with pytest.raises(ValueError, match="brackets"):
            parse(wrong)
    tidy = polish('tom saw a old boat ,  and "is it yours?" he said.')
    assert tidy == 'Tom saw an old boat, and "Is it yours?" he said.'
    assert with_article("odd hat") == "an odd hat"
    assert sentences('"Is it here?" asked Tom. "It is."') == ['"Is it here?" asked Tom.', '"It is."']
