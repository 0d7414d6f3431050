using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// What one insert stores: the waiting messages cut into chunks per topic, in the order of their arrival. A pure
/// function of the tickets and the sequence book; the same plan is inserted again when an attempt fails.
/// </summary>
internal sealed class InsertPlan
{
    private readonly List<Draft> _drafts = [];

    private InsertPlan(long producerId) => ProducerId = producerId;

    public long ProducerId { get; }

    public int Rows { get; private set; }

    public IReadOnlyList<Draft> Drafts => _drafts;

    public static InsertPlan Make(
        IReadOnlyList<PublishTicket> tickets, SequenceBook book, int chunkRows, int chunkBytes)
    {
        var plan = new InsertPlan(book.ProducerId);
        var open = new Dictionary<string, Draft>();
        foreach (var ticket in tickets)
        {
            for (var i = 0; i < ticket.Messages.Count; i++)
            {
                if (!ticket.IsRepeated(i))
                {
                    plan.Place(ticket, i, open, book, chunkRows, chunkBytes);
                }
            }
        }

        return plan;
    }

    /// <summary>
    /// Hands the rows' ids, in the order of the drafts, to the tickets, and makes the chunks to send.
    /// </summary>
    public List<Chunk> Stored(IReadOnlyList<long> ids)
    {
        var chunks = new List<Chunk>(_drafts.Count);
        var at = 0;
        foreach (var draft in _drafts)
        {
            chunks.Add(draft.ToChunk(ProducerId, ids, at));
            at += draft.Records.Count;
        }

        return chunks;
    }

    private void Place(
        PublishTicket ticket,
        int index,
        Dictionary<string, Draft> open,
        SequenceBook book,
        int chunkRows,
        int chunkBytes)
    {
        var message = ticket.Messages[index];
        var size = message.Record.FieldBytes;
        var found = open.TryGetValue(message.Topic, out var draft);
        if (!found || draft!.Records.Count == chunkRows || draft.SizeBytes + size > chunkBytes)
        {
            var first = found ? draft!.FirstSequence + draft.Records.Count : book.Next(message.Topic);
            draft = new Draft(message.Topic, first);
            open[message.Topic] = draft;
            _drafts.Add(draft);
        }

        draft!.Add(message, size, ticket, index);
        Rows++;
    }

    /// <summary>A chunk that is not stored yet.</summary>
    internal sealed class Draft(string topic, long firstSequence)
    {
        private readonly List<RecordBytes> _records = [];
        private readonly List<IdempotencyKey?> _keys = [];
        private readonly List<(PublishTicket Ticket, int Index)> _owners = [];

        public string Topic { get; } = topic;

        public long FirstSequence { get; } = firstSequence;

        public int SizeBytes { get; private set; }

        public IReadOnlyList<RecordBytes> Records => _records;

        public IReadOnlyList<IdempotencyKey?> Keys => _keys;

        public void Add(OutboxMessage message, int size, PublishTicket ticket, int index)
        {
            _records.Add(message.Record);
            _keys.Add(message.Once);
            _owners.Add((ticket, index));
            SizeBytes += size;
        }

        public Chunk ToChunk(long producerId, IReadOnlyList<long> ids, int at)
        {
            var own = new long[_owners.Count];
            for (var i = 0; i < _owners.Count; i++)
            {
                own[i] = ids[at + i];
                _owners[i].Ticket.SetId(_owners[i].Index, own[i]);
            }

            return new Chunk(producerId, Topic, FirstSequence, _records.Count, SizeBytes)
            {
                Ids = own,
                Batch = RecordBytes.EncodeBatch(_records),
                Waiters = MakeWaiters(),
            };
        }

        private (PublishTicket? Ticket, int Index)[]? MakeWaiters()
        {
            if (!_owners.Exists(owner => owner.Ticket.WaitForCommit))
            {
                return null;
            }

            var waiters = new (PublishTicket? Ticket, int Index)[_owners.Count];
            for (var i = 0; i < waiters.Length; i++)
            {
                var (ticket, index) = _owners[i];
                waiters[i] = ticket.WaitForCommit ? (ticket, index) : (null, 0);
            }

            return waiters;
        }
    }
}
