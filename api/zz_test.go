package api_test
import ("testing";"os";"path/filepath";"fmt";"context"; "github.com/stele-log/stele/storage/sqlite")
func TestZZ(t *testing.T){
	for mode := range 4 {
	dir:=t.TempDir()
	path := filepath.Join(dir, "stele.db")
	ls:=func(){
	es,_:=os.ReadDir(dir)
	for _,e:=range es { i,_:=e.Info(); fmt.Print(e.Name()," ", i.Size(), " ") }
	fmt.Println(mode)}
	sqlite.Migrate(context.Background(), path)
	ls()
	s,err:=sqlite.Open(context.Background(), path)
	if err!=nil {t.Fatal(err)}
	if mode>=1 { s.Logs(context.Background()) }
	if mode>=2 { s.CreateLog(context.Background(),"a","b") }
	if mode>=3 { l,_:=s.OpenLog(context.Background(),"a"); le,err:=l.Lead(context.Background()); fmt.Println(err); le.Release() }
	fmt.Println(s.Close())
	ls()
	}
}
