import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import org.h2.mvstore.MVStore;

/** Serves MongoDB's protocol: PORT alone keeps its data in memory, PORT FILE in a file. */
public class MongoLauncher {
    public static void main(String[] arguments) {
        String file = arguments.length > 1 ? arguments[1] : null;
        H2Backend backend = new H2Backend(MVStore.open(file)) {
            @Override
            public Document handleMessage(MongoMessage message) {
                Document answer = super.handleMessage(message);
                if (file != null) {
                    commit(); // what is answered is on disk, and outlives kill -9
                }
                return answer;
            }
        };
        backend.version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(5, 0, 0);
            }

            @Override
            public int getWireVersion() {
                return 9; // clients refuse its own 8; the commands are the same
            }
        });
        new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(arguments[0]));
    }
}
