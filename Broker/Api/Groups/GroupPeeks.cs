using System.Globalization;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// What operators see of a group's single records. Those that are on their way the shards' leaders know; dead letters
/// are read as they are listed.
/// </summary>
internal sealed class GroupPeeks(GroupRegistry registry, IConsumerGroups groups, DeadLetterAdmin deadLetters)
{
    public async Task<PeekGroupResponse> PeekAsync(PeekGroupRequest request, CancellationToken cancellationToken)
    {
        var group = await registry.FindAsync(request.Group, cancellationToken);
        if (request.State == DeliveryState.Dead)
        {
            return await PeekDeadAsync(request, cancellationToken);
        }

        var state = request.State switch
        {
            DeliveryState.Waiting => PeekState.Waiting,
            DeliveryState.Outstanding => PeekState.Outstanding,
            DeliveryState.Delayed => PeekState.Delayed,
            _ => throw Refusal.InvalidArgument(
                "The request does not say which records are wanted; set state to WAITING, OUTSTANDING, DELAYED or "
                + "DEAD."),
        };
        var size = request.PageSize == 0
            ? Limits.DefaultPeeksPerPage
            : (int)Math.Min(request.PageSize, Limits.PeeksPerPage);
        var found = await groups.PeekAsync(group, state, ReadToken(request.PageToken), size + 1, cancellationToken);
        var response = new PeekGroupResponse();
        response.Records.AddRange(found.Take(size).Select(each => ToWire(each, state)));
        if (found.Count > size && found[size - 1].Place is var (topic, partition, offset))
        {
            response.NextPageToken = string.Create(CultureInfo.InvariantCulture, $"{partition}:{offset}:{topic}");
        }

        return response;
    }

    private async Task<PeekGroupResponse> PeekDeadAsync(PeekGroupRequest request, CancellationToken cancellationToken)
    {
        var list = new ListDeadLettersRequest
        {
            Group = request.Group,
            PageSize = request.PageSize,
            PageToken = request.PageToken,
        };
        var listed = await deadLetters.ListAsync(list, cancellationToken);
        var response = new PeekGroupResponse { NextPageToken = listed.NextPageToken };
        response.Records.AddRange(listed.DeadLetters.Select(static letter => new PeekedRecord
        {
            Topic = letter.Topic,
            Partition = letter.Partition,
            Offset = letter.Offset,
            Deliveries = letter.Attempts,
            Reason = letter.Reason,
            DeadPosition = letter.Position,
        }));
        return response;
    }

    private static PeekedRecord ToWire(PeekedPlace found, PeekState state) => new()
    {
        Topic = found.Place.Topic,
        Partition = (uint)found.Place.Partition,
        Offset = found.Place.Offset,
        Deliveries = (uint)found.Deliveries,
        Consumer = found.Consumer,
        NodeId = (uint)found.Node,
        Session = (ulong)found.Session,
        LeaseEndUnixMs = state == PeekState.Outstanding ? found.UntilUnixMs : 0,
        DueUnixMs = state == PeekState.Delayed ? found.UntilUnixMs : 0,
    };

    private static PlaceOfRecord? ReadToken(string token)
    {
        if (token.Length == 0)
        {
            return null;
        }

        var parts = token.Split(':', 3);
        return parts.Length == 3 && parts[2].Length > 0
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var partition)
            && long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var offset)
            ? new PlaceOfRecord(parts[2], partition, offset)
            : throw Refusal.InvalidArgument(
                "page_token is none that a broker has given for this state; take it as it is from the answer before.");
    }
}
