using System.Text;
using Publisher.Outbox;
using Publisher.Sending;
using Xunit;

namespace Broker.Tests.Unit.PublisherService;

/// <summary>How waiting messages become chunks with sequences.</summary>
public sealed class InsertPlanTests
{
    private readonly SequenceBook _book = new();

    [Fact]
    public void Messages_of_a_topic_share_a_chunk_in_their_order()
    {
        var plan = Plan(Ticket("a", "b"), Ticket("b", "a"));
        Assert.Equal(["a", "b"], plan.Drafts.Select(draft => draft.Topic));
        Assert.Equal(["a/0", "a/1"], Values(plan.Drafts[0]));
        Assert.Equal(["b/1", "b/0"], Values(plan.Drafts[1]));
        Assert.Equal(4, plan.Rows);
    }

    [Fact]
    public void A_chunk_ends_at_its_row_bound_and_the_next_goes_on_without_a_gap()
    {
        var plan = Plan(Ticket("a", "a", "a", "a", "a"), rows: 2);
        Assert.Equal([0L, 2L, 4L], plan.Drafts.Select(draft => draft.FirstSequence));
        Assert.Equal([2, 2, 1], plan.Drafts.Select(draft => draft.Records.Count));
    }

    [Fact]
    public void A_chunk_ends_at_its_byte_bound_and_a_larger_record_stands_alone()
    {
        var plan = Plan(Ticket("a", "a", "a"), bytes: 1);
        Assert.Equal([1, 1, 1], plan.Drafts.Select(draft => draft.Records.Count));
    }

    [Fact]
    public void Sequences_advance_only_when_the_insert_is_committed()
    {
        var lost = Plan(Ticket("a", "a"));
        var kept = Plan(Ticket("a", "a", "a"));
        Assert.Equal(0, lost.Drafts[0].FirstSequence);
        Assert.Equal(0, kept.Drafts[0].FirstSequence);
        _book.Advance(kept.Stored([1, 2, 3]));
        Assert.Equal(3, Plan(Ticket("a")).Drafts[0].FirstSequence);
    }

    [Fact]
    public void A_retired_id_is_replaced_and_sequences_begin_anew()
    {
        var before = _book.ProducerId;
        _book.Advance(Plan(Ticket("a")).Stored([1]));
        _book.AskToRetire(before);
        Assert.True(_book.ShouldRetire(topicLimit: 10));
        _book.Retire();
        Assert.False(_book.ShouldRetire(topicLimit: 10));
        Assert.NotEqual(before, _book.ProducerId);
        Assert.Equal(0, Plan(Ticket("a")).Drafts[0].FirstSequence);
    }

    [Fact]
    public async Task Each_message_is_answered_with_its_own_row_and_offset()
    {
        var ticket = Ticket("a", "b", "a");
        var chunks = Plan(ticket).Stored([11, 12, 13]);
        ticket.Stored();
        Assert.False(ticket.Completion.IsCompleted);
        chunks[0].AnswerCommitted(0, 100);
        Assert.False(ticket.Completion.IsCompleted);
        chunks[1].AnswerCommitted(2, -1);
        var answers = await ticket.Completion;
        Assert.Equal([new(11, true, 100), new(13, true, -1, 2), new(12, true, 101)], answers);
    }

    [Fact]
    public async Task A_caller_who_does_not_wait_for_the_commit_is_answered_when_stored()
    {
        var ticket = new PublishTicket([Message("a", 0)], waitForCommit: false);
        var chunks = Plan(ticket).Stored([7]);
        Assert.Null(chunks[0].Waiters);
        ticket.Stored();
        Assert.Equal([new PublishAnswer(7, false, -1)], await ticket.Completion);
    }

    [Fact]
    public void A_ticket_is_either_taken_or_given_up()
    {
        var ticket = Ticket("a");
        Assert.True(ticket.TryGiveUp());
        Assert.False(ticket.TryTake());
    }

    private InsertPlan Plan(PublishTicket ticket, int rows = 1000, int bytes = 1 << 20) => Plan([ticket], rows, bytes);

    private InsertPlan Plan(params PublishTicket[] tickets) => Plan(tickets, 1000, 1 << 20);

    private InsertPlan Plan(PublishTicket[] tickets, int rows, int bytes) =>
        InsertPlan.Make(tickets, _book, rows, bytes);

    private static PublishTicket Ticket(params string[] topics) =>
        new([.. topics.Select((topic, index) => Message(topic, index))], waitForCommit: true);

    private static OutboxMessage Message(string topic, int index) =>
        new(topic, new RecordBytes(default, Encoding.UTF8.GetBytes($"{topic}/{index}"), default));

    private static IEnumerable<string> Values(InsertPlan.Draft draft) =>
        draft.Records.Select(record => Encoding.UTF8.GetString(record.Value.Span));
}
