namespace Publisher.Outbox;

/// <summary>A validated message on its way into the outbox.</summary>
internal sealed record OutboxMessage(string Topic, RecordBytes Record);
