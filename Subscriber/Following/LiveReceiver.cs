using Broker.Protocol.V1;
using Google.Protobuf;
using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// Takes live batches as they come from Redis, in any order, any number of times. Never waits, never throws.
/// </summary>
internal sealed class LiveReceiver(TopicTable topics, SubjectList subjects, ILogger<LiveReceiver> logger)
{
    public void Receive(string channel, byte[] message)
    {
        try
        {
            var batch = LiveBatch.Parser.ParseFrom(message);
            if (!subjects.Matches(batch.Topic))
            {
                return;  // A Redis pattern matches more than the filter that it stands for.
            }

            var place = new TopicPlace(batch.Topic, (int)batch.Partition);
            var end = batch.BaseOffset + batch.Count;
            if (batch.Batch.IsEmpty)
            {
                topics.OnAnnounced(place, 0, end);
                return;
            }

            var records = Decode(batch);
            if (records.Length != batch.Count)
            {
                logger.LiveMalformed(channel, null);
                return;
            }

            topics.OnLive(place, new MessageRun(batch.BaseOffset, records, MessageSource.Live));
        }
        catch (InvalidProtocolBufferException e)
        {
            logger.LiveMalformed(channel, e);
        }
    }

    private static InboxRecord[] Decode(LiveBatch live)
    {
        var batch = RecordBatch.Parser.ParseFrom(live.Batch);
        var records = new InboxRecord[batch.Records.Count];
        for (var i = 0; i < records.Length; i++)
        {
            var record = batch.Records[i];
            records[i] = new InboxRecord(
                live.TimestampUnixMs, record.Key.Memory, record.Value.Memory, EncodeHeaders(record));
        }

        return records;
    }

    private static byte[] EncodeHeaders(Record record)
    {
        if (record.Headers.Count == 0)
        {
            return [];
        }

        var headers = new Record();
        headers.Headers.Add(record.Headers);
        return headers.ToByteArray();
    }
}
