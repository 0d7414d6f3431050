using Broker.Protocol.Wire;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// A publish whose keys belong to several partitions: each part is a publish by itself, and the last answer makes the
/// whole one. Parts are stored or refused each by itself, so some may be and others not: then the caller hears that the
/// outcome is unknown, and which parts are there.
/// </summary>
internal sealed class SplitPublish(ulong correlation, IReadOnlyList<BatchPart> parts, IPublishSink sink)
{
    private readonly PublishResult?[] _answers = new PublishResult?[parts.Count];
    private int _left = parts.Count;

    /// <summary>Where the answer of a part goes.</summary>
    public IPublishSink SinkOf(int part) => new PartSink(this, part);

    private void Answered(int part, PublishResult answer)
    {
        _answers[part] = answer;
        if (Interlocked.Decrement(ref _left) == 0)
        {
            var whole = _answers.All(static each => each!.Status == (uint)StatusCode.OK) ? Stored() : NotWhole();
            whole.Correlation = correlation;
            sink.Answered(whole);
        }
    }

    private PublishResult Stored()
    {
        var first = _answers[0]!.Response;
        var response = new PublishResponse
        {
            BaseOffset = -1,
            Count = (uint)parts.Sum(static part => part.Records.Count),
            TimestampUnixMs = _answers.Max(static each => each!.Response.TimestampUnixMs),
            TopicId = first.TopicId,
            Partitions = first.Partitions,
        };
        foreach (var (number, part) in parts.Index())
        {
            var stored = _answers[number]!.Response;
            response.Parts.Add(new PublishedPart
            {
                Partition = stored.Partition,
                BaseOffset = stored.BaseOffset,
                TimestampUnixMs = stored.TimestampUnixMs,
                Records = { part.Records },
            });
        }

        return new PublishResult { Response = response };
    }

    /// <summary>When surely nothing was stored, the first refusal says why, and what to do.</summary>
    private PublishResult NotWhole()
    {
        var refusals = _answers.Where(static each => each!.Status != (uint)StatusCode.OK).ToList();
        if (refusals.Count == parts.Count
            && refusals.TrueForAll(static each => each!.Reason != Reason.OutcomeUnknown && IsSure(each)))
        {
            return refusals[0]!;
        }

        var there = parts.Index().Where(each => _answers[each.Index]!.Status == (uint)StatusCode.OK)
            .Select(static each => each.Item.Partition)
            .ToList();
        return new PublishResult
        {
            Status = (uint)StatusCode.Aborted,
            Reason = Reason.OutcomeUnknown,
            Message = $"The batch was split into {parts.Count} parts, one for each partition of its keys. "
                + (there.Count > 0 ? $"Those for partitions {string.Join(", ", there)} are stored. " : "")
                + $"Of the others one was answered: {refusals[0]!.Message}",
        };
    }

    private static bool IsSure(PublishResult refusal) =>
        (StatusCode)refusal.Status is not (StatusCode.Aborted or StatusCode.Internal or StatusCode.Unknown);

    private sealed class PartSink(SplitPublish whole, int part) : IPublishSink
    {
        public void Answered(PublishResult response) => whole.Answered(part, response);
    }
}
